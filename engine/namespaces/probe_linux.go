package namespaces

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// A Probe is what an ordinary user can do here, "" or why not.
type Probe struct {
	Mounts   string // give an engine its own /proc and /sys
	Overlay  string // mount overlayfs
	Iptables string // use iptables
}

type probePlan struct{ Iptables string }

// ProbeUser tries, in namespaces that are gone when it returns, what an engine needs.
// Iptables is the path of that program. Where there can be no such namespaces the error is the
// kernel's, and where they can have no ids a [*MapError].
func ProbeUser(ids IDMap, iptables string) (Probe, error) {
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0) // in the place of the exit pipe
	if err != nil {
		return Probe{}, err
	}
	defer null.Close()
	attr := &syscall.SysProcAttr{Setsid: true, Cloneflags: userFlags | unix.CLONE_NEWCGROUP}
	h, err := startUserHelper(ids, null, attr, []string{"PATH=" + os.Getenv("PATH")}, nil)
	if err != nil {
		return Probe{}, err
	}
	report, err := h.ask(Plan{Probe: &probePlan{iptables}})
	<-h.Exited
	if err != nil {
		return Probe{}, err
	}
	var p Probe
	if err := json.Unmarshal(report, &p); err != nil {
		return Probe{}, fmt.Errorf("probe of user namespaces: %s", report)
	}
	return p, nil
}

// do is the helper's part.
func (plan probePlan) do() Probe {
	const stage = "/tmp" // of this mount namespace alone
	text := func(err error) string {
		if err == nil {
			return ""
		}
		return err.Error()
	}
	var p Probe
	if p.Mounts = text(setUpUser(&Plan{User: &UserPlan{Staging: stage}})); p.Mounts != "" {
		return p
	}
	p.Overlay = text(tryOverlay(stage))
	cmd := exec.Command(plan.Iptables, "--table", "nat", "--list-rules")
	cmd.Env = append(os.Environ(), "XTABLES_LOCKFILE="+stage+"/lock")
	if out, err := cmd.CombinedOutput(); err != nil {
		p.Iptables = strings.TrimSpace(string(out))
		if p.Iptables == "" {
			p.Iptables = err.Error()
		}
	}
	return p
}

// tryOverlay mounts an overlayfs on dir.
func tryOverlay(dir string) error {
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, ""); err != nil {
		return err
	}
	for _, sub := range []string{"a", "b", "all"} {
		if err := os.Mkdir(dir+"/"+sub, 0o755); err != nil {
			return err
		}
	}
	return unix.Mount("overlay", dir+"/all", "overlay", unix.MS_RDONLY, fmt.Sprintf("lowerdir=%[1]s/a:%[1]s/b", dir))
}

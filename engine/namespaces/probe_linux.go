package namespaces

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/docker-rd/docker-rd/internal/programs"
)

// A Probe says what an ordinary user can do here: "", or why not.
type Probe struct {
	Mounts   string // give an engine its own /proc and /sys
	Data     string // make files in the data directory; if not, what follows was not tried
	Owners   string // give files in the data directory to other users of containers
	Overlay  string // mount overlayfs on them
	Fuse     string // mount fuse-overlayfs on them; tried where Overlay can't be
	Iptables string // use iptables
}

// A ProbePlan says what to try.
type ProbePlan struct {
	Data           string // a writable directory; "" leaves out what needs one
	Iptables, Fuse string // paths of the programs; "" if missing
}

// ProbeUser tries, in namespaces that are gone when it returns, what an engine needs. It
// makes and removes files of its own in the data directory. Where there can be no such
// namespaces the error is the kernel's, and where they can have no ids a [*MapError].
func ProbeUser(ids IDMap, plan ProbePlan) (Probe, error) {
	attr := &syscall.SysProcAttr{Setsid: true, Cloneflags: userFlags}
	h, err := startUserHelper(ids, nil, attr, []string{"PATH=" + programs.SearchPath()}, nil)
	if err != nil {
		return Probe{}, err
	}
	report, err := h.ask(Plan{Probe: &plan})
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
func (plan ProbePlan) do() Probe {
	const stage = "/tmp" // of this mount namespace alone
	var p Probe
	if p.Mounts = text(setUpNew(&UserPlan{Staging: stage}, nil)); p.Mounts != "" {
		return p
	}
	if plan.Data != "" {
		p.tryData(plan.Data, plan.Fuse)
	}
	if plan.Iptables != "" {
		if err := unix.Mount("tmpfs", stage, "tmpfs", 0, ""); err != nil {
			p.Iptables = err.Error()
			return p
		}
		p.Iptables = tryProgram([]string{"XTABLES_LOCKFILE=" + stage + "/lock"}, plan.Iptables, "--wait", "--table", "nat", "--new-chain", "docker-rd")
	}
	return p
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// tryProgram runs a program and returns what it says if it fails.
func tryProgram(env []string, name string, args ...string) string {
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	if err == nil {
		return ""
	}
	if said := strings.TrimSpace(string(out)); said != "" {
		return said
	}
	return err.Error()
}

// tryData tries what containers' file systems take.
func (p *Probe) tryData(data, fuse string) {
	dir, err := os.MkdirTemp(data, ".docker-rd-")
	if err != nil {
		p.Data = err.Error()
		return
	}
	defer os.RemoveAll(dir)
	if err := os.Chdir(dir); err != nil {
		p.Data = err.Error()
		return
	}
	defer func() { _ = os.Chdir("/") }()
	const lower, upper, work, all = "lower", "upper", "work", "all"
	for _, sub := range []string{lower, upper, work, all} {
		if err := os.Mkdir(sub, 0o755); err != nil {
			p.Data = err.Error()
			return
		}
	}
	p.Owners = text(os.Chown(upper, 1, 1))
	const options = "lowerdir=" + lower + ",upperdir=" + upper + ",workdir=" + work
	err = unix.Mount("overlay", all, "overlay", 0, options+",userxattr")
	if errors.Is(err, unix.EINVAL) { // Ubuntu's kernels before Linux 5.11 do it without
		err = unix.Mount("overlay", all, "overlay", 0, options)
	}
	if p.Overlay = text(err); err != nil {
		if fuse == "" {
			return
		}
		if p.Fuse = tryProgram(nil, fuse, "-o", options, all); p.Fuse != "" {
			return
		}
	}
	_ = unix.Unmount(all, unix.MNT_DETACH)
}

package systemd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/docker-rd/docker-rd/internal/process"
)

// ErrEnds is matched by the error for a user's systemd that ends with the user's last session.
var ErrEnds = errors.New("the user's systemd ends with the last session")

// ErrNoBus is matched by the error for a user's systemd that can't be asked for scopes.
var ErrNoBus = errors.New("the user has no D-Bus session")

// FindScopes returns the systemd of an ordinary user if it can have scopes there that last as
// long as their processes. The errors match [ErrNone], [ErrNoBus] or [ErrEnds].
func FindScopes() (Manager, error) {
	m, err := Find()
	if err != nil {
		return m, err
	}
	if _, err := os.Stat(filepath.Join(m.runtimeDir, "bus")); err != nil {
		return m, fmt.Errorf("%w: %w", ErrNoBus, err)
	}
	if _, err := exec.LookPath("busctl"); err != nil {
		return m, fmt.Errorf("%w: %w", ErrNoBus, err)
	}
	if !m.Lingers() && !runsBelow() {
		return m, ErrEnds
	}
	return m, nil
}

// runsBelow reports whether the user's systemd has started this process, which ends with it
// anyway.
func runsBelow() bool {
	return slices.Contains(ownPath(), "user@"+strconv.Itoa(os.Geteuid())+".service")
}

// ownPath returns the elements of this process's path in the control groups of version 2.
func ownPath() []string {
	path, _ := process.Group(0, "")
	return strings.Split(path, "/")
}

// MoveToScope moves a process of the user's into a scope of its own, whose control group is
// delegated to the user. Systemd does so soon after MoveToScope has returned, and removes the scope
// when its last process has ended. When systemd ends, it ends the unit of this process first. Ctx
// bounds the call of busctl.
func (m Manager) MoveToScope(ctx context.Context, scope, description string, pid int) error {
	properties := []string{
		"PIDs", "au", "1", strconv.Itoa(pid),
		"Description", "s", description,
		"Delegate", "b", "true",
		"TasksMax", "t", strconv.FormatUint(^uint64(0), 10), // infinity
		"CollectMode", "s", "inactive-or-failed",
	}
	count := 5
	if path := ownPath(); strings.HasSuffix(path[len(path)-1], ".service") && runsBelow() {
		properties = append(properties, "Before", "as", "1", path[len(path)-1])
		count++
	}
	argv := append([]string{"--user", "--quiet", "call", "org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager",
		"StartTransientUnit", "ssa(sv)a(sa(sv))", scope, "fail", strconv.Itoa(count)}, properties...)
	cmd := exec.CommandContext(ctx, "busctl", append(argv, "0")...)
	cmd.Env = append(slices.DeleteFunc(os.Environ(), func(kv string) bool { return strings.HasPrefix(kv, "DBUS_SESSION_BUS_ADDRESS=") }),
		"LC_ALL=C", "XDG_RUNTIME_DIR="+m.runtimeDir)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("scope %q: busctl: %w: %s", scope, err, strings.TrimSpace(string(out)))
	}
	return nil
}

// Controllers returns the controllers of the control groups that the system gives to the user's
// systemd.
func (m Manager) Controllers() ([]string, error) {
	u, err := user.Current()
	if err != nil {
		return nil, err
	}
	data, err := os.ReadFile(fmt.Sprintf("/sys/fs/cgroup/user.slice/user-%[1]s.slice/user@%[1]s.service/cgroup.controllers", u.Uid))
	return strings.Fields(string(data)), err
}

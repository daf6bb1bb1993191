package isolated

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/docker-rd/docker-rd/engine/processes"
	"github.com/docker-rd/docker-rd/internal/failure"
	"github.com/docker-rd/docker-rd/internal/pause"
	"github.com/docker-rd/docker-rd/internal/session"
	"github.com/docker-rd/docker-rd/internal/systemd"
)

// An ordinary user's containers have limits where systemd gives the user control groups of version
// 2: the engine is in a scope of the user's systemd, whose group is delegated to it.

// A delegationError says that an engine could not be moved to a scope. It can run without.
type delegationError struct{ error }

func (e *delegationError) Unwrap() error { return e.error }

// findDelegation returns the systemd that delegates control groups to the user's engines. The error
// says why none does, with a hint.
func findDelegation() (*systemd.Manager, error) {
	refuse := func(hint, format string, args ...any) (*systemd.Manager, error) {
		return nil, failure.WithHint(failure.Refuse("the control groups are root's: "+format, args...), "%s", hint)
	}
	const orRoot = "root's engines have limits"
	h, err := processes.FindHierarchies()
	if err != nil || h.V2 == "" || len(h.V1) > 0 {
		return refuse("the kernel's parameter `systemd.unified_cgroup_hierarchy=1` brings version 2 to a systemd; "+orRoot,
			"only those of version 2 can be given to an ordinary user")
	}
	m, err := systemd.FindScopes()
	linger := fmt.Sprintf("`sudo loginctl enable-linger %s`, then restart the instance", session.Username())
	switch {
	case err == nil:
		return &m, nil
	case errors.Is(err, systemd.ErrEnds):
		return refuse(linger, "%w, and would end the engine", err)
	case errors.Is(err, systemd.ErrNoBus):
		return refuse("on Debian and Ubuntu: `sudo apt-get install dbus-user-session`, then log in again", "%w", err)
	case systemd.Booted():
		return refuse(linger, "%w", err)
	}
	return refuse(orRoot, "%w", err)
}

// scopeTimeout is how long systemd may take to make a scope. It takes some 10 ms.
const scopeTimeout = 10 * time.Second

// delegate moves the helper of an engine into a group of the engine's own, in a scope.
func (m userMode) delegate(pid int) (group string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), scopeTimeout)
	defer cancel()
	// That of a former engine may not have gone yet.
	scope := fmt.Sprintf("%s-%d.scope", m.processes().GroupName(), pid)
	if err := m.scopes.MoveToScope(ctx, scope, "docker rd engine "+m.Name, pid); err != nil {
		return "", &delegationError{err}
	}
	for !processes.InScope(pid, scope) {
		if pause.For(ctx, time.Millisecond) != nil {
			return "", &delegationError{fmt.Errorf("systemd has not made %q after %s", scope, scopeTimeout)}
		}
	}
	if group, err = m.processes().Delegate(pid); err != nil {
		return "", &delegationError{err}
	}
	return group, nil
}

// controllers are those that limits need.
var controllers = []string{"cpu", "memory", "pids"}

// missingControllers returns a note of controllers that the running engine lacks, or nil.
func missingControllers(h processes.Hierarchies) error {
	missing := slices.DeleteFunc(slices.Clone(controllers), func(name string) bool { return h.Lacks(name) == nil })
	if len(missing) == 0 {
		return nil
	}
	return failure.WithHint(fmt.Errorf("containers have no limits of %s: the system gives ordinary users no such control groups", strings.Join(missing, ", ")),
		"%s, then restart the user's systemd, for example by a reboot", delegateAll)
}

// delegateAll is how root has the system give users more controllers.
const delegateAll = "`sudo mkdir -p /etc/systemd/system/user@.service.d && printf '[Service]\\nDelegate=cpu cpuset io memory pids\\n' | sudo tee /etc/systemd/system/user@.service.d/delegate.conf && sudo systemctl daemon-reload`"

// checkUserLimits refuses limits that can't be kept here.
func checkUserLimits(c *Config) error {
	if c.limits() == (Limits{}) {
		return nil
	}
	if err := checkContainerdLimits(c); err != nil {
		return err
	}
	m, err := findDelegation()
	if err != nil {
		return failure.WithHint(failure.Refuse("the rootless driver supports no limits here: %w", err), "%s", failure.Hint(err))
	}
	given, err := m.Controllers()
	if err != nil {
		return failure.Refuse("limits: %w", err)
	}
	for _, controller := range c.limits().Controllers() {
		if !slices.Contains(given, controller) {
			return failure.WithHint(failure.Refuse("limits: the system gives ordinary users no control groups of %s", controller),
				"%s, then restart the user's systemd, for example by a reboot", delegateAll)
		}
	}
	return nil
}

// delegated returns the hierarchy that is delegated to the running engine, zero if there is none.
func (m userMode) delegated() processes.Hierarchies {
	engine := m.readEngineFile().Engine
	if !engine.Alive() {
		return processes.Hierarchies{}
	}
	return m.processes().Delegated(engine.PID)
}

// limit implements [mode].
func (m userMode) limit() error {
	h := m.delegated()
	switch {
	case h.V2 != "":
		return m.processes().SetLimits(h, m.limits(), m.isContainerd())
	case m.limits() == (Limits{}):
		return nil
	}
	if _, err := findDelegation(); err != nil {
		return failure.WithHint(failure.Refuse("the rootless driver supports no limits here: %w", err), "%s", failure.Hint(err))
	}
	return failure.Refuse("limits: the running engine has no control groups of its own, but will have them after the next start")
}

// lacksLimits returns what the running engine of an ordinary user can't limit, with a hint, or nil.
func (m userMode) lacksLimits() error {
	if h := m.delegated(); h.V2 != "" {
		return missingControllers(h)
	}
	lacks := "containers have no limits of memory and processors, and docker stats shows the machine's use: "
	if m.isContainerd() { // its containers have no groups in any case: the limits are the engine's
		lacks = "the engine can't have limits of memory and processors: "
	}
	if _, err := findDelegation(); err != nil {
		return failure.WithHint(fmt.Errorf(lacks+"%w", err), "%s", failure.Hint(err))
	}
	return errors.New(lacks + "that changes with the next start of the instance")
}

package client

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/docker-rd/docker-rd/instance"
	"github.com/docker-rd/docker-rd/instance/contexts"
	"github.com/docker-rd/docker-rd/internal/failure"
	"github.com/docker-rd/docker-rd/internal/programs"
	"github.com/docker-rd/docker-rd/internal/session"
	"github.com/docker-rd/docker-rd/internal/systemd"
)

// A Boot says how an instance is started with the system.
type Boot struct {
	Unit    string `json:"unit"`    // the name of its systemd unit
	Enabled bool   `json:"enabled"` // systemd starts it
	User    string `json:"user"`    // whose systemd that is
	Lingers bool   `json:"lingers"` // and does so before the user logs in, and keeps it when the user logs out
}

// BootOf returns how the instance is started with the system, as far as systemd's files say.
func BootOf(i *instance.Instance) Boot {
	m, _ := systemd.Find()
	unit := unitOf(m, i)
	return Boot{Unit: unit, Enabled: m.Enabled(unit), User: session.Username(), Lingers: m.Lingers()}
}

// CheckBoot refuses a start with the system where there is no systemd for it.
func CheckBoot(i *instance.Instance) error {
	_, err := systemdFor(i)
	return err
}

func systemdFor(i *instance.Instance) (systemd.Manager, error) {
	m, err := systemd.Find()
	if err != nil {
		err = problem(i, NoSystemd, failure.Refuse("instance %q can't start with the system: %w", i.Name, err))
	}
	return m, err
}

// setBoot makes the instance's unit as its setting autostart says, or removes it. What runs goes
// on as it is.
func setBoot(ctx context.Context, i *instance.Instance) error {
	if !i.Settings.Autostart {
		return forgetBoot(ctx, i)
	}
	m, err := systemdFor(i)
	if err != nil {
		return err
	}
	text, err := unitText(i, m)
	if err != nil {
		return fmt.Errorf("instance %q: start with the system: %w", i.Name, err)
	}
	unit := unitOf(m, i)
	_, before := m.Read(unit)
	if err := m.Enable(ctx, unit, text); err != nil {
		if errors.Is(before, fs.ErrNotExist) {
			err = errors.Join(err, m.Remove(context.WithoutCancel(ctx), unit))
		}
		return fmt.Errorf("instance %q: start with the system: %w", i.Name, err)
	}
	return nil
}

// forgetBoot removes the instance's unit, if there is one.
func forgetBoot(ctx context.Context, i *instance.Instance) error {
	m, _ := systemd.Find()
	unit := unitOf(m, i)
	if text, err := m.Read(unit); err != nil || !isUnitOf(text, i) {
		return nil
	}
	if err := m.Remove(ctx, unit); err != nil {
		return fmt.Errorf("instance %q: no start with the system: %w", i.Name, err)
	}
	return nil
}

// settleUnit tells systemd that the instance was stopped on purpose: otherwise systemd would start
// again a supervisor that was killed or has failed.
func settleUnit(ctx context.Context, i *instance.Instance) {
	if m, err := systemd.Find(); err == nil && i.Settings.Autostart {
		_ = m.Run(ctx, "stop", "--no-block", unitOf(m, i)) // it has stopped anyway
	}
}

// unitOf returns the name of the instance's unit. An instance of that name under another home
// may have the short one.
func unitOf(m systemd.Manager, i *instance.Instance) string {
	unit := "docker-rd-" + i.Name + ".service"
	if text, err := m.Read(unit); err == nil && !isUnitOf(text, i) {
		unit = "docker-rd-" + i.Name + "-" + i.UID + ".service"
	}
	return unit
}

// uidKey is a key that systemd ignores, as all that begin with X-.
const uidKey = "X-InstanceUID="

func isUnitOf(text string, i *instance.Instance) bool {
	return strings.Contains(text, "\n"+uidKey+i.UID+"\n")
}

// unitText returns the instance's unit.
func unitText(i *instance.Instance, m systemd.Manager) (string, error) {
	exe, err := program()
	if err != nil {
		return "", err
	}
	var env strings.Builder
	for _, name := range bootVariables {
		value, ok := os.LookupEnv(name)
		if name == "DOCKER_CONFIG" {
			value, ok = i.DockerConfig, true
		}
		if ok {
			fmt.Fprintf(&env, "Environment=%s\n", systemd.Quote(name+"="+value))
		}
	}
	return fmt.Sprintf(unitFormat, i.Name, systemd.Literal(i.Paths.InstanceFile()), uidKey+i.UID,
		systemd.Command(exe, "start", "--foreground", i.Name), env.String(), m.Target), nil
}

// bootVariables are what the instance, its files and its programs are found by.
var bootVariables = []string{"DOCKER_CONFIG", "HOME", "PATH", instance.HomeEnv, "XDG_STATE_HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME", contexts.SocketsEnv}

// program returns the path of this program, by its name on the PATH where that leads to it: a
// package manager may keep the file itself in a directory of its version.
func program() (string, error) {
	exe, err := programs.Self()
	if err != nil {
		return "", err
	}
	named, err := exec.LookPath("docker-rd")
	if err != nil || !filepath.IsAbs(named) {
		return exe, nil
	}
	if real, err := filepath.EvalSymlinks(named); err == nil && real == exe {
		return named, nil
	}
	return exe, nil
}

// unitFormat is the unit of an instance. The supervisor ends the engine when it is told to end,
// and says how long its containers have for that (EXTEND_TIMEOUT_USEC). Where it is killed, the
// engine goes on, and the next one adopts it: hence KillMode. What was refused is not tried again.
const unitFormat = `# Made by docker rd, which overwrites it. Make changes with: systemctl edit
[Unit]
Description=docker rd instance %[1]s
ConditionPathExists=%[2]s
Wants=network-online.target
After=network-online.target
StartLimitIntervalSec=10min
StartLimitBurst=10
%[3]s

[Service]
Type=notify
NotifyAccess=main
ExecStart=%[4]s
%[5]sKillMode=process
TimeoutStartSec=infinity
TimeoutStopSec=2min
Restart=on-failure
RestartSec=5s
RestartPreventExitStatus=3 125
Delegate=yes
TasksMax=infinity

[Install]
WantedBy=%[6]s
`

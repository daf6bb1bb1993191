// Package systemd has systemd start a service when the system, or its user's session, does.
package systemd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/docker-rd/docker-rd/internal/files"
	"github.com/docker-rd/docker-rd/internal/session"
)

// ErrNone is matched by the errors for a system, or a user, without systemd.
var ErrNone = errors.New("no systemd runs here")

// A Manager is a systemd: the system's, which is root's, or an ordinary user's own.
type Manager struct {
	user       bool
	dir        string // of the units that this user has made
	runtimeDir string // of a user's
	Target     string // the unit that starts services by itself
}

// Find returns the systemd of the user who runs this process. One that does not run, or can't be
// reached, is an error that matches [ErrNone]; the manager can still be asked for its units.
func Find() (Manager, error) {
	if os.Geteuid() == 0 {
		m := Manager{dir: "/etc/systemd/system", Target: "multi-user.target"}
		return m, m.check("/run/systemd/private")
	}
	m := Manager{user: true, Target: "default.target", runtimeDir: session.RuntimeDir()}
	u, err := user.Current()
	if err != nil {
		return m, fmt.Errorf("%w: %w", ErrNone, err)
	}
	// The user's systemd has the home of the system's list of users, whatever $HOME is here.
	m.dir = filepath.Join(u.HomeDir, ".config", "systemd", "user")
	if base := os.Getenv("XDG_CONFIG_HOME"); filepath.IsAbs(base) {
		m.dir = filepath.Join(base, "systemd", "user")
	}
	if m.runtimeDir == "" {
		return m, fmt.Errorf("%w: no session of %s has one", ErrNone, u.Username)
	}
	return m, m.check(filepath.Join(m.runtimeDir, "systemd", "private"))
}

func (m Manager) check(socket string) error {
	if !Booted() {
		return ErrNone
	}
	if _, err := os.Stat(socket); err != nil {
		return fmt.Errorf("%w: %w", ErrNone, err)
	}
	if _, err := exec.LookPath("systemctl"); err != nil {
		return fmt.Errorf("%w: %w", ErrNone, err)
	}
	return nil
}

// Booted reports what sd_booted(3) says: whether systemd runs the system.
func Booted() bool {
	info, err := os.Lstat("/run/systemd/system")
	return err == nil && info.IsDir()
}

// Lingers reports whether the manager goes on when its user has logged out.
func (m Manager) Lingers() bool {
	if !m.user {
		return true
	}
	_, err := os.Stat(filepath.Join("/var/lib/systemd/linger", session.Username()))
	return err == nil
}

// Read returns the text of a unit that the user has made. The error matches [fs.ErrNotExist]
// where there is none.
func (m Manager) Read(unit string) (string, error) {
	data, err := os.ReadFile(m.path(unit))
	return string(data), err
}

// Enabled reports whether the target starts the unit.
func (m Manager) Enabled(unit string) bool {
	_, err := os.Stat(filepath.Join(m.dir, m.Target+".wants", unit)) // a link to it
	return err == nil
}

func (m Manager) path(unit string) string { return filepath.Join(m.dir, unit) }

// Enable makes a unit of the text, or changes it, and has its target start it from now on.
func (m Manager) Enable(ctx context.Context, unit, text string) error {
	if err := os.MkdirAll(m.dir, 0o755); err != nil {
		return fmt.Errorf("unit %q: %w", unit, err)
	}
	if err := files.ReplaceSynced(m.path(unit), []byte(text)); err != nil {
		return fmt.Errorf("unit %q: %w", unit, err)
	}
	if err := os.Chmod(m.path(unit), 0o644); err != nil { // systemd complains of others
		return fmt.Errorf("unit %q: %w", unit, err)
	}
	return m.Run(ctx, "enable", "--quiet", unit)
}

// Remove removes a unit, if it is there. What runs of it goes on. That needs no systemd.
func (m Manager) Remove(ctx context.Context, unit string) error {
	for _, path := range []string{filepath.Join(m.dir, m.Target+".wants", unit), m.path(unit)} {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("unit %q: %w", unit, err)
		}
	}
	if _, err := Find(); err != nil {
		return nil // it reads its units when it starts
	}
	return m.Run(ctx, "daemon-reload")
}

// Run runs systemctl. When ctx ends, systemctl is killed. The error has its output.
func (m Manager) Run(ctx context.Context, args ...string) error {
	argv := append([]string{"--no-ask-password"}, args...)
	if m.user {
		argv = append([]string{"--user"}, argv...)
	}
	cmd := exec.CommandContext(ctx, "systemctl", argv...)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	if m.user {
		cmd.Env = append(cmd.Env, "XDG_RUNTIME_DIR="+m.runtimeDir)
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("systemctl %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

// Literal returns text, such as a path, in which systemd is to replace nothing.
func Literal(text string) string { return strings.ReplaceAll(text, "%", "%%") }

// Quote is [Literal] where systemd splits a line into words: one word, in quotes.
func Quote(word string) string { return Literal(strconv.Quote(word)) }

// Command returns a command line.
func Command(argv ...string) string {
	words := make([]string, len(argv))
	for n, arg := range argv {
		words[n] = strings.ReplaceAll(Quote(arg), "$", "$$") // a variable otherwise
	}
	return strings.Join(words, " ")
}

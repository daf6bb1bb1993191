package endpoint

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/docker/cli/cli/connhelper/ssh"
)

// What the other side runs is docker's dial-stdio, which goes on for as long as the engine
// owes an answer, and follows whatever docker would use there. So it is run by a shell: on
// one line, with double quotes alone, for whatever shell passes it on.
const (
	greeting = "docker-rd: logged in"
	onward   = "docker-rd: onward to "
	// onwardStatus is the script's exit status when it does not go on.
	onwardStatus = 69 // EX_UNAVAILABLE of sysexits.h

	// greet says that the login is over.
	greet = `echo "` + greeting + `" >&2; `
	// guardOnward ends the script where docker would go on over ssh. Docker can't be asked:
	// that of 20.10 connects to its current context whatever it is to do.
	guardOnward = `d=${DOCKER_CONFIG:-$HOME/.docker}; h=${DOCKER_HOST:-}; ` +
		`c=${DOCKER_CONTEXT:-$(sed -n "s/.*\"currentContext\"[[:space:]]*:[[:space:]]*\"\\([^\"]*\\)\".*/\\1/p" "$d/config.json" 2>/dev/null)}; ` +
		`if [ -z "$h" ] && [ -n "$c" ]; then ` +
		`m=$(grep -ls "\"Name\":[[:space:]]*\"$c\"" "$d"/contexts/meta/*/meta.json) && h=$(grep -hos "ssh://[^\"]*" $m); fi; ` +
		`case $h in ssh:*) echo "` + onward + `$h" >&2; exit 69;; esac; `
	// relay runs the rest of the arguments, and kills what it runs when the connection
	// ends: the input comes through a pipe, so that its end is seen. Where no pipe can be
	// had, it is as halfRelay.
	relay = `d=$(mktemp -d) && mkfifo $d/p && exec 3<&0 4<>$d/p; r=$?; rm -rf "$d"; [ $r = 0 ] || exec "$@"; ` +
		`"$@" <&4 3<&- 4<&- & p=$!; ` +
		`{ cat <&3 >&4; kill -s KILL $p; } >/dev/null 2>&1 & a=$!; ` +
		`exec 3<&- 4<&-; wait $p; s=$?; kill $a 2>/dev/null; exit $s`
	// halfRelay is relay for connections that are closed for writing before the answer
	// comes. Then the end of the connection can't be seen.
	halfRelay = `exec "$@"`
)

// sshArgs returns ssh's arguments to run docker's dial-stdio on the host of a URL: by
// itself, or with a script around it.
func sshArgs(host string, script string) ([]string, error) {
	spec, err := ssh.ParseURL(host)
	if err != nil {
		return nil, err
	}
	remote := []string{"docker", "system", "dial-stdio"}
	if strings.Trim(spec.Path, "/") != "" {
		remote = []string{"docker", "--host=unix://" + spec.Path, "system", "dial-stdio"}
	} else if script != "" {
		script = guardOnward + script
	}
	if script != "" {
		remote = append([]string{"/bin/sh", "-c", greet + script, "docker-rd"}, remote...)
	}
	return spec.Command(nil, remote...)
}

// An sshDial makes connections to one host.
type sshDial struct {
	host    string   // for the bound on logins
	script  []string // ssh's arguments with the script,
	plain   []string // and without
	noShell atomic.Bool
}

// sshDialer returns how connections to the URL host are made. Those that half-close may be
// closed for writing before the answer has come.
func sshDialer(host string, halfCloses bool) (dialFunc, error) {
	script := relay
	if halfCloses {
		script = halfRelay
	}
	spec, err := ssh.ParseURL(host)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrAddress, err)
	}
	d := &sshDial{host: net.JoinHostPort(spec.Host, spec.Port)}
	if d.script, err = sshArgs(host, script); err == nil {
		d.plain, err = sshArgs(host, "")
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrAddress, err)
	}
	return func(ctx context.Context, _, _ string) (net.Conn, error) { return d.dial(ctx) }, nil
}

const (
	// maxDrops is how often a connection may be dropped before anybody could log in.
	maxDrops = 8
	// minPause and maxPause are how long to wait after the first time, and after many.
	minPause, maxPause = 100 * time.Millisecond, 800 * time.Millisecond
	// greetingPatience is how long the greeting is waited for. An account that may only run
	// a command of its own sends none.
	greetingPatience = time.Second
)

// dial connects. A connection that the server has dropped because there were too many at a
// time is tried again, as long as there is time.
func (d *sshDial) dial(ctx context.Context) (net.Conn, error) {
	var pause time.Duration
	for drops := 1; ; drops++ {
		conn, err := d.once(ctx, pause)
		failed, ok := errors.AsType[*SSHError](err)
		if !ok || !failed.Dropped() || drops == maxDrops {
			return conn, err
		}
		pause = min(max(minPause, 2*pause), maxPause)
		if end, ok := ctx.Deadline(); ok && time.Until(end) < 2*pause {
			return nil, err
		}
	}
}

// once connects after a pause, and returns when the login is over. Where the other side has
// no shell of the usual kind, it runs the command alone.
func (d *sshDial) once(ctx context.Context, pause time.Duration) (net.Conn, error) {
	if d.noShell.Load() {
		return d.alone(ctx, pause)
	}
	conn, err := d.start(ctx, pause, d.script)
	if err != nil {
		return nil, err
	}
	select {
	case <-conn.greeted:
		return conn, nil
	case <-time.After(greetingPatience):
		return conn, nil
	case <-ctx.Done():
		_ = conn.Close()
		return nil, ctx.Err()
	case <-conn.exited:
	}
	failure := conn.failure()
	select {
	case <-conn.greeted:
		return conn, nil // its end is for the reader
	default:
	}
	_ = conn.Close()
	if failed, ok := errors.AsType[*SSHError](failure); failure != nil && (!ok || failed.Local()) {
		return nil, failure
	}
	d.noShell.Store(true)
	return d.alone(ctx, 0)
}

// alone connects without the script.
func (d *sshDial) alone(ctx context.Context, pause time.Duration) (net.Conn, error) {
	conn, err := d.start(ctx, pause, d.plain)
	if err != nil {
		return nil, err
	}
	return conn, nil
}

// start starts ssh, as soon as another connection may log in. During the pause it counts
// as one that does: the server takes fewer than we thought.
func (d *sshDial) start(ctx context.Context, pause time.Duration, args []string) (*sshConn, error) {
	done, err := beginLogin(ctx, d.host)
	if err != nil {
		return nil, err
	}
	if pause > 0 {
		select {
		case <-time.After(pause/2 + rand.N(pause)):
		case <-ctx.Done():
			done()
			return nil, ctx.Err()
		}
	}
	return startSSH(args, done)
}

// startSSH starts ssh and returns its standard streams as a connection. The process
// lives as long as the connection, not as long as a context: net/http keeps the
// connection for later requests. LoggedIn is called once, when it has logged in or never
// will.
func startSSH(args []string, loggedIn func()) (_ *sshConn, err error) {
	defer func() {
		if err != nil {
			loggedIn()
		}
	}()
	program, err := exec.LookPath("ssh")
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSSHMissing, err)
	}
	c := &sshConn{greeted: make(chan struct{}), exited: make(chan struct{}), drained: make(chan struct{}), loggedIn: sync.OnceFunc(loggedIn)}
	cmd := guarded(program, args)
	// A security key that waits for a touch would open a window.
	cmd.Env = append(cmd.Environ(), "SSH_ASKPASS_REQUIRE=never")

	// Pipes of our own: os/exec's would make Wait wait for everyone who holds them.
	var theirs []*os.File
	defer func() {
		for _, f := range theirs {
			_ = f.Close()
		}
	}()
	for _, p := range []struct {
		child func(*os.File)
		ours  **os.File
		write bool
	}{
		{func(f *os.File) { cmd.Stdin = f }, &c.in, true},
		{func(f *os.File) { cmd.Stdout = f }, &c.out, false},
		{func(f *os.File) { cmd.Stderr = f }, &c.errs, false},
	} {
		r, w, err := os.Pipe()
		if err != nil {
			c.closeFiles()
			return nil, fmt.Errorf("ssh: %w", err)
		}
		if p.write {
			r, w = w, r
		}
		*p.ours = r
		p.child(w)
		theirs = append(theirs, w)
	}
	if c.group, err = startGroup(cmd); err != nil {
		c.closeFiles()
		return nil, fmt.Errorf("ssh: %w", err)
	}
	go c.drain()
	// Without a greeting, the end of the login shows only when the engine says something.
	patience := time.AfterFunc(loginPatience, c.loggedIn)
	go func() {
		c.group.wait()
		close(c.exited)
		patience.Stop()
		c.loggedIn()
	}()
	return c, nil
}

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

	"github.com/docker-rd/docker-rd/internal/pause"
)

// The other side runs docker's dial-stdio, which goes on while the engine owes an answer, and uses
// whatever docker would use there. So a script is around it: on one line and with double quotes
// only, for any login shell.
const (
	greeting = "docker-rd: logged in"
	onward   = "docker-rd: onward to "
	// onwardStatus is the script's exit status when it does not go on.
	onwardStatus = 69 // EX_UNAVAILABLE of sysexits.h

	// greet says that the login is over.
	greet = `echo "` + greeting + `" >&2; `
	// guardOnward ends the script if docker would use ssh there. Docker can't be asked: 20.10
	// connects to its current context for every command.
	guardOnward = `d=${DOCKER_CONFIG:-$HOME/.docker}; h=${DOCKER_HOST:-}; ` +
		`c=${DOCKER_CONTEXT:-$(sed -n "s/.*\"currentContext\"[[:space:]]*:[[:space:]]*\"\\([^\"]*\\)\".*/\\1/p" "$d/config.json" 2>/dev/null)}; ` +
		`if [ -z "$h" ] && [ -n "$c" ]; then ` +
		`m=$(grep -ls "\"Name\":[[:space:]]*\"$c\"" "$d"/contexts/meta/*/meta.json) && h=$(grep -hos "ssh://[^\"]*" $m); fi; ` +
		`case $h in ssh:*) echo "` + onward + `$h" >&2; exit 69;; esac; `
	// relay runs the rest of the arguments, and kills it when the connection ends: it passes the
	// input through a pipe to see its end. Without mkfifo it is halfRelay.
	relay = `d=$(mktemp -d) && mkfifo $d/p && exec 3<&0 4<>$d/p; r=$?; rm -rf "$d"; [ $r = 0 ] || exec "$@"; ` +
		`"$@" <&4 3<&- 4<&- & p=$!; ` +
		`{ cat <&3 >&4; kill -s KILL $p; } >/dev/null 2>&1 & a=$!; ` +
		`exec 3<&- 4<&-; wait $p; s=$?; kill $a 2>/dev/null; exit $s`
	// halfRelay is relay for connections that may be half-closed before the answer: it can't see
	// the end of the connection.
	halfRelay = `exec "$@"`
)

// sshArgs returns ssh's arguments to run docker's dial-stdio on the endpoint's host: by
// itself, or with a script around it.
func (e Endpoint) sshArgs(script string) ([]string, error) {
	spec, err := ssh.ParseURL(e.Host)
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
	args, err := spec.Command(nil, remote...)
	if e.SSHConfig != "" {
		args = append([]string{"-F", e.SSHConfig}, args...)
	}
	return args, err
}

// An sshDial makes connections to one host.
type sshDial struct {
	host    string   // for the bound on logins
	script  []string // ssh's arguments with the script,
	plain   []string // and without
	master  []string // script, with the master connection of [Endpoint.SSHConfig]; else nil
	raw     bool     // what comes need not be HTTP
	noShell atomic.Bool
}

// sshDialer returns a dial function for an ssh host, for connections that may be half-closed
// before the answer if halfCloses.
func (e Endpoint) sshDialer(halfCloses bool) (dialFunc, error) {
	script := relay
	if halfCloses {
		script = halfRelay
	}
	spec, err := ssh.ParseURL(e.Host)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrAddress, err)
	}
	d := &sshDial{host: net.JoinHostPort(spec.Host, spec.Port), raw: halfCloses}
	if d.script, err = e.sshArgs(script); err == nil {
		d.plain, err = e.sshArgs("")
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrAddress, err)
	}
	if e.SSHConfig != "" {
		direct := []string{"-o", "ControlPath=none"}
		d.master, d.script, d.plain = d.script, append(direct, d.script...), append(direct, d.plain...)
	}
	return func(ctx context.Context, _, _ string) (net.Conn, error) { return d.dial(ctx) }, nil
}

const (
	// maxDrops is how often a connection may be dropped before the login.
	maxDrops = 8
	// minPause and maxPause bound the pause after a drop.
	minPause, maxPause = 100 * time.Millisecond, 800 * time.Millisecond
	// greetingPatience is how long the greeting is waited for before the engine is asked, too: an
	// account with a forced command sends none.
	greetingPatience = time.Second
)

// masterPatience bounds the wait for a master connection, which may be dead.
var masterPatience = 5 * time.Second

// dial connects. It repeats a connection that the server has dropped, as long as there is time.
func (d *sshDial) dial(ctx context.Context) (net.Conn, error) {
	var wait time.Duration
	for drops := 1; ; drops++ {
		conn, err := d.once(ctx, wait)
		if err == nil {
			return conn, nil
		}
		failed, ok := errors.AsType[*SSHError](err)
		if !ok || !failed.Dropped() || drops == maxDrops {
			return nil, err
		}
		wait = min(max(minPause, 2*wait), maxPause)
		if end, ok := ctx.Deadline(); ok && time.Until(end) < 2*wait {
			return nil, err
		}
	}
}

// once connects after a wait, and returns after the login. If the other side has no POSIX shell,
// it runs the command without the script.
func (d *sshDial) once(ctx context.Context, wait time.Duration) (*sshConn, error) {
	if d.noShell.Load() {
		return d.start(ctx, wait, d.plain)
	}
	if conn := d.throughMaster(ctx); conn != nil {
		return conn, nil
	}
	conn, err := d.start(ctx, wait, d.script)
	if err != nil {
		return nil, err
	}
	select {
	case <-conn.greeted:
		return conn, nil
	case <-time.After(greetingPatience):
		err := conn.awaitAnswer(ctx)
		if err == nil {
			return conn, nil
		}
		select {
		case <-conn.exited:
		default:
			_ = conn.Close()
			return nil, err
		}
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
	return d.start(ctx, 0, d.plain)
}

// throughMaster connects through a master connection. It returns nil if there is none, or if that
// does not work soon.
func (d *sshDial) throughMaster(ctx context.Context) *sshConn {
	if d.master == nil {
		return nil
	}
	conn, err := d.start(ctx, 0, d.master)
	if err != nil {
		return nil
	}
	select {
	case <-conn.greeted:
		return conn
	case <-conn.exited:
	case <-time.After(masterPatience):
	case <-ctx.Done():
	}
	_ = conn.Close()
	return nil
}

// start starts ssh, as soon as another connection may log in. The wait counts as a login: the
// server takes fewer than expected.
func (d *sshDial) start(ctx context.Context, wait time.Duration, args []string) (*sshConn, error) {
	done, err := beginLogin(ctx, d.host)
	if err != nil {
		return nil, err
	}
	if wait > 0 {
		if err := pause.For(ctx, wait/2+rand.N(wait)); err != nil {
			done()
			return nil, err
		}
	}
	return startSSH(args, d.raw, done)
}

// startSSH starts ssh and returns its standard streams as a connection. The process lives as long as
// the connection: net/http keeps it for later requests. Unless raw, it is an error if what comes is not
// HTTP. LoggedIn is called once, after the login or its failure.
func startSSH(args []string, raw bool, loggedIn func()) (_ *sshConn, err error) {
	defer func() {
		if err != nil {
			loggedIn()
		}
	}()
	program, err := exec.LookPath("ssh")
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSSHMissing, err)
	}
	c := &sshConn{greeted: make(chan struct{}), exited: make(chan struct{}), drained: make(chan struct{}), loggedIn: sync.OnceFunc(loggedIn), isHTTP: !raw}
	cmd := guarded(program, args)
	// A security key that waits for a touch would open a window.
	cmd.Env = append(cmd.Environ(), "SSH_ASKPASS_REQUIRE=never")

	// Pipes of our own: with os/exec's, Wait would wait for all processes that hold them.
	stdin, in, inErr := os.Pipe()
	out, stdout, outErr := os.Pipe()
	errs, stderr, errsErr := os.Pipe()
	defer closeAll(stdin, stdout, stderr)
	c.in, c.out, c.errs = in, out, errs
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, stdout, stderr
	if err = errors.Join(inErr, outErr, errsErr); err == nil {
		c.group, err = startGroup(cmd)
	}
	if err != nil {
		closeAll(in, out, errs)
		return nil, fmt.Errorf("ssh: %w", err)
	}
	go c.drain()
	// Without a greeting, only an answer of the engine shows that the login is over.
	patience := time.AfterFunc(loginPatience, c.loggedIn)
	go func() {
		c.group.wait()
		close(c.exited)
		patience.Stop()
		c.loggedIn()
	}()
	return c, nil
}

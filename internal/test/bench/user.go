//go:build linux

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/docker-rd/docker-rd/internal/programs"
	"github.com/docker-rd/docker-rd/internal/test/asuser"
)

// userCommand is the argument with which an ordinary user runs this program, to start and stop
// engines for root's bench.
const userCommand = "as-user"

// An order is what the user is to do: start or stop an engine with its files below a directory.
type order struct {
	Kind, Dir string
	Stop      bool
}

// userMain does what the lines of its standard input say, and answers each with a line: what
// has failed. At the end it stops what runs.
func userMain(bin string) (err error) {
	b := &bench{bin: bin}
	kinds := map[string]startFunc{"docker-rd": b.whole, "rootlesskit": rootlesskit}
	stops := map[string]func() error{}
	defer func() {
		for _, stop := range stops {
			err = errors.Join(err, stop())
		}
	}()
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		var o order
		if err := json.Unmarshal(lines.Bytes(), &o); err != nil {
			return err
		}
		var failed error
		if o.Stop {
			failed = stops[o.Dir]()
			delete(stops, o.Dir)
		} else {
			var stop func() error
			if stop, failed = kinds[o.Kind](context.Background(), o.Dir); stop != nil {
				stops[o.Dir] = stop
			}
		}
		answer := ""
		if failed != nil {
			answer = strings.Join(strings.Fields(failed.Error()), " ")
		}
		fmt.Println(answer)
	}
	return nil
}

// A user is an ordinary one, who starts engines.
type user struct {
	*asuser.User
	orders  io.Writer
	answers *bufio.Scanner
}

// newUser makes a user until tb ends.
func (b *bench) newUser(tb *helper) (*user, error) {
	u := &user{User: asuser.New(tb)}
	program, err := u.Add("bench", "/proc/self/exe")
	if err != nil {
		return nil, err
	}
	// Where the user may read it.
	bin := filepath.Join(u.Dir, "bin")
	if out, err := exec.Command("cp", "-r", filepath.Dir(b.bin), bin).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("cp: %w: %s", err, out)
	}
	cmd := u.Command(nil, program, userCommand, filepath.Join(bin, filepath.Base(b.bin)))
	cmd.Stderr = os.Stderr
	orders, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	answers, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	tb.Cleanup(func() {
		_ = orders.Close()
		if err := cmd.Wait(); err != nil {
			tb.Errorf("the user's part: %w", err)
		}
	})
	u.orders, u.answers = orders, bufio.NewScanner(answers)
	return u, nil
}

func (u *user) do(o order) error {
	if err := json.NewEncoder(u.orders).Encode(o); err != nil {
		return err
	}
	if !u.answers.Scan() {
		return errors.Join(io.ErrUnexpectedEOF, u.answers.Err())
	}
	if answer := u.answers.Text(); answer != "" {
		return errors.New(answer)
	}
	return nil
}

// kind returns a way for the user to start engines.
func (u *user) kind(name string) kind {
	return kind{"user's " + name, u.Home, func(_ context.Context, dir string) (func() error, error) {
		stop := func() error { return u.do(order{Dir: dir, Stop: true}) }
		return stop, u.do(order{Kind: name, Dir: dir})
	}}
}

// rootlesskit starts a dockerd as docker does for an ordinary user.
func rootlesskit(ctx context.Context, dir string) (func() error, error) {
	const script = "dockerd-rootless.sh"
	if _, err := programs.Find("rootlesskit"); err != nil {
		return nil, err // the script's own words are in a log
	}
	path, err := programs.Find(script)
	if err != nil {
		path = filepath.Join("/usr/share/docker.io/contrib", script) // where Debian has it
	}
	runtime := filepath.Join(dir, "run")
	if err := os.MkdirAll(runtime, 0o700); err != nil {
		return nil, err
	}
	cmd, err := startDaemon(dir, []string{path}, append(os.Environ(), "XDG_RUNTIME_DIR="+runtime, "PATH="+programs.SearchPath()))
	if err != nil {
		return nil, err
	}
	return func() error {
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			return err
		}
		return cmd.Wait()
	}, ping(ctx, filepath.Join(dir, bareSocket))
}

// ownSocket is where docker-rd's default engine answers that was started with files below dir.
func ownSocket(dir string) string { return filepath.Join(dir, "rd", "run", "default", "docker.sock") }

// rootless compares an ordinary user's start with that of the same dockerd by RootlessKit, and
// with root's.
func (b *bench) rootless(ctx context.Context) (err error) {
	tb := &helper{}
	defer tb.end(&err)
	u, err := b.newUser(tb)
	if err != nil {
		return err
	}
	times, err := b.startKinds(ctx, []kind{u.kind("rootlesskit"), {"root's", b.dir, b.whole}, u.kind("docker-rd")})
	if err != nil {
		return err
	}
	for _, data := range []string{"fresh", "existing"} {
		// Ours ends when the context is there and the mirror is synced, RootlessKit's with the
		// first answer.
		b.table.ratio("user's start, "+data+" data / RootlessKit's", times["user's docker-rd "+data], times["user's rootlesskit "+data], 1.1)
		b.table.ratio("user's start, "+data+" data / root's", times["user's docker-rd "+data], times["root's "+data], 1.25)
	}
	return nil
}

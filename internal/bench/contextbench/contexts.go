package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/docker-rd/docker-rd/internal/fakeengine"
)

// contexts measures `docker-rd context promote` with nothing to do, the program bin,
// against `docker context show` of the docker on the PATH: all that it does more, a
// probe included, shall not be felt. It prints ratios of medians to out.
func contexts(ctx context.Context, bin string, rounds int, out io.Writer) (err error) {
	dir, err := os.MkdirTemp("", "rdc")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	engine, err := fakeengine.Start(filepath.Join(dir, "s"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, engine.Close()) }()
	s := shell{"HOME=" + dir, "DOCKER_CONFIG=" + filepath.Join(dir, "docker"), "DOCKER_RD_HOME=" + filepath.Join(dir, "rd")}
	host := "unix://" + filepath.Join(dir, "s")

	if _, err := s.run(ctx, "docker", "context", "create", "works", "--docker", "host="+host); err != nil {
		return err
	}
	// Whatever fails later, no supervisor is left.
	defer func() {
		_, stopErr := s.run(context.WithoutCancel(ctx), bin, "stop")
		err = errors.Join(err, stopErr)
	}()
	if _, err := s.run(ctx, bin, "start", "--driver", "existing", "--host", host, "--promote", "never"); err != nil {
		return err
	}
	for _, current := range []struct{ name, what string }{
		{"rd", "the context is current already"},
		{"works", "the current context works (probe included)"},
	} {
		if _, err := s.run(ctx, "docker", "context", "use", current.name); err != nil {
			return err
		}
		var promote, show []time.Duration
		for range rounds + 1 { // the first warms up
			a, err := s.run(ctx, bin, "context", "promote")
			if err != nil {
				return err
			}
			b, err := s.run(ctx, "docker", "context", "show")
			if err != nil {
				return err
			}
			promote, show = append(promote, a), append(show, b)
		}
		a, b := middle(promote[1:]), middle(show[1:])
		verdict := "met"
		if a > b {
			verdict = "MISSED"
		}
		if _, err := fmt.Fprintf(out, "promote, %s / docker context show: %s / %s = %.2f, target ≤ 1.00: %s\n",
			current.what, a, b, float64(a)/float64(b), verdict); err != nil {
			return err
		}
	}
	return nil
}

// middle returns the median.
func middle(d []time.Duration) time.Duration {
	return slices.Sorted(slices.Values(d))[len(d)/2].Round(10 * time.Microsecond)
}

// A shell is an environment of its own, added to what is left of this one without
// what leads docker elsewhere.
type shell []string

// run runs a command and returns how long it took.
func (s shell) run(ctx context.Context, name string, args ...string) (time.Duration, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(slices.DeleteFunc(os.Environ(), func(kv string) bool { return strings.HasPrefix(kv, "DOCKER_") }), s...)
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	begin := time.Now()
	if err := cmd.Run(); err != nil {
		return 0, fmt.Errorf("%s %s: %w: %s", filepath.Base(name), strings.Join(args, " "), err, bytes.TrimSpace(output.Bytes()))
	}
	return time.Since(begin), nil
}

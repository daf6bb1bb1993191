//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/docker-rd/docker-rd/internal/pause"
)

// start compares `docker-rd start` from cold, until everything is ready, with what the
// same dockerd takes to answer its first ping when it is started bare: in the host's
// namespaces and in private ones.
func (b *bench) start(ctx context.Context) error {
	times, err := b.startKinds(ctx, []kind{
		{"host", b.dir, bare()},
		{"private", b.dir, bare("unshare", "-n", "-m", "--")},
		{"docker-rd", b.dir, b.whole},
	})
	if err != nil {
		return err
	}
	for _, data := range []string{"fresh", "existing"} {
		b.table.ratio("start, "+data+" data / bare in the host's namespaces", times["docker-rd "+data], times["host "+data], 1)
		b.table.ratio("start, "+data+" data / bare in private namespaces", times["docker-rd "+data], times["private "+data], 1.25)
	}
	return nil
}

// A kind is a way to start engines, with their files below dir.
type kind struct {
	name, dir string
	start     startFunc
}

// startKinds starts an engine of each kind in turns, twice with the same data, and returns how
// long that took by the kind's name and what data there were.
func (b *bench) startKinds(ctx context.Context, kinds []kind) (map[string]samples, error) {
	times := map[string]samples{}
	for round := range b.rounds + 1 {
		for n, k := range kinds {
			dir := filepath.Join(k.dir, fmt.Sprintf("s%d-%d", round, n))
			for _, data := range []string{"fresh", "existing"} {
				d, err := measureStart(ctx, k.start, dir)
				if err != nil {
					return nil, fmt.Errorf("%s, %s data: %w", k.name, data, err)
				}
				if round > 0 {
					times[k.name+" "+data] = append(times[k.name+" "+data], d)
				}
			}
			if err := os.RemoveAll(dir); err != nil {
				return nil, err
			}
		}
	}
	return times, nil
}

// A startFunc starts an engine with its files below dir, which it makes, returns when it can be
// used, and how to stop it.
type startFunc func(ctx context.Context, dir string) (stop func() error, err error)

// settling is how long the kernel may go on taking down the namespaces and control groups
// of the engine before, which would keep the next one waiting.
const settling = time.Second

func measureStart(ctx context.Context, start startFunc, dir string) (time.Duration, error) {
	if err := pause.For(ctx, settling); err != nil {
		return 0, err
	}
	began := time.Now()
	stop, err := start(ctx, dir)
	took := time.Since(began)
	if stop != nil {
		err = errors.Join(err, stop())
	}
	return took, err
}

// whole is what users type.
func (b *bench) whole(ctx context.Context, dir string) (func() error, error) {
	h := &home{bin: b.bin, dir: dir}
	if err := os.MkdirAll(filepath.Join(dir, "docker"), 0o700); err != nil {
		return nil, err
	}
	_, err := h.rd(ctx, "start")
	return func() error {
		_, err := h.rd(context.WithoutCancel(ctx), "stop")
		return err
	}, err
}

// dockerBridge is what dockerd makes in its network namespace, and leaves there.
const dockerBridge = "docker0"

// bare starts dockerd itself, below the command wrap, and waits for its first answer.
func bare(wrap ...string) startFunc {
	return func(ctx context.Context, dir string) (func() error, error) {
		_, err := net.InterfaceByName(dockerBridge)
		theirs := err == nil // of an engine of the machine
		cmd, err := startDaemon(dir, append(slices.Clone(wrap), "dockerd"), os.Environ())
		if err != nil {
			return nil, err
		}
		return func() error {
			if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
				return err
			}
			if err := cmd.Wait(); err != nil || theirs {
				return err
			}
			// Engines started later would keep out of its way, which takes their time.
			if _, err := net.InterfaceByName(dockerBridge); err != nil {
				return nil // it was in a namespace of its own
			}
			return exec.Command("ip", "link", "delete", dockerBridge).Run()
		}, ping(ctx, filepath.Join(dir, bareSocket))
	}
}

// bareSocket is where a dockerd that was started without docker-rd answers, in its directory.
const bareSocket = "s"

// startDaemon starts a command that passes arguments on to dockerd.
func startDaemon(dir string, argv, env []string) (*exec.Cmd, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	argv = append(argv, "-H", "unix://"+filepath.Join(dir, bareSocket),
		"--data-root", filepath.Join(dir, "data"), "--exec-root", filepath.Join(dir, "x"),
		"--pidfile", filepath.Join(dir, "pid"), "--config-file", filepath.Join(dir, "daemon.json"))
	if err := os.WriteFile(filepath.Join(dir, "daemon.json"), []byte("{}"), 0o600); err != nil {
		return nil, err
	}
	log, err := os.OpenFile(filepath.Join(dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env, cmd.Stdout, cmd.Stderr = env, log, log
	return cmd, cmd.Start()
}

// ping returns when the engine at socket answers.
func ping(ctx context.Context, socket string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		}}}
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://docker/_ping", nil)
		if err != nil {
			return err
		}
		resp, err := client.Do(req)
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		if ctx.Err() != nil {
			return fmt.Errorf("no answer: %w", err)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

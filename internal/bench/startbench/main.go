//go:build linux

// Command startbench measures how long engines take from being started to answering
// their first ping: dockerd bare in the host's namespaces, bare in private ones
// (unshare -n -m), and through package engine/dockerd. They take turns, so that what
// else the machine does meets all of them. It needs root and a machine without a
// docker0 bridge of its own, which the first would share.
//
//	go build -o /tmp/docker-rd-proxy ./cmd/docker-rd-proxy
//	go run ./internal/bench/startbench -proxy /tmp/docker-rd-proxy -n 7
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/docker-rd/docker-rd/engine/dockerd"
)

// A start starts an engine with its files below dir and returns how to stop it.
type start func(ctx context.Context, dir string) (stop func() error, err error)

func main() {
	dockerd.Init()
	n := flag.Int("n", 5, "starts of each kind, with fresh and with existing data")
	proxy := flag.String("proxy", "", "docker-rd-proxy program")
	only := flag.String("only", "", "host, unshare or docker-rd: measure only these, separated by commas")
	verbose := flag.Bool("v", false, "print each start")
	flag.Parse()
	if err := run(context.Background(), *n, *proxy, *only, *verbose); err != nil {
		fmt.Fprintln(os.Stderr, "startbench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, n int, proxy, only string, verbose bool) error {
	proxy, err := filepath.Abs(proxy)
	if err != nil {
		return err
	}
	kinds := []struct {
		name  string
		start start
	}{
		{"host", bare()},
		{"unshare", bare("unshare", "-n", "-m", "--")},
		{"docker-rd", private(proxy)},
	}
	times := map[string][]time.Duration{}
	for round := range n {
		for _, k := range kinds {
			if only != "" && !slices.Contains(strings.Split(only, ","), k.name) {
				continue
			}
			// Short: sockets are below it.
			dir, err := os.MkdirTemp("/tmp", "sb")
			if err != nil {
				return err
			}
			for _, data := range []string{"fresh", "existing"} {
				d, err := measure(ctx, k.start, dir)
				if err != nil {
					return fmt.Errorf("%s, %s data: %w (files kept: %s)", k.name, data, err, dir)
				}
				if verbose {
					fmt.Printf("%d %-9s %-8s %s\n", round, k.name, data, d.Round(time.Millisecond))
				}
				times[k.name+" "+data] = append(times[k.name+" "+data], d)
			}
			if err := os.RemoveAll(dir); err != nil {
				return err
			}
		}
	}
	fmt.Printf("%-10s %-9s %8s %8s %8s\n", "ENGINE", "DATA", "MEDIAN", "LEAST", "MOST")
	for _, data := range []string{"fresh", "existing"} {
		for _, k := range kinds {
			d := times[k.name+" "+data]
			if len(d) == 0 {
				continue
			}
			slices.Sort(d)
			fmt.Printf("%-10s %-9s %8s %8s %8s\n", k.name, data, d[len(d)/2].Round(time.Millisecond),
				d[0].Round(time.Millisecond), d[len(d)-1].Round(time.Millisecond))
		}
	}
	return nil
}

// measure starts an engine, waits for its answer, and stops it.
func measure(ctx context.Context, start start, dir string) (time.Duration, error) {
	began := time.Now()
	stop, err := start(ctx, dir)
	if err != nil {
		return 0, err
	}
	err = ping(ctx, filepath.Join(dir, "s"))
	took := time.Since(began)
	return took, errors.Join(err, stop())
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

// bare starts dockerd itself, below the command wrap.
func bare(wrap ...string) start {
	return func(_ context.Context, dir string) (func() error, error) {
		argv := append(slices.Clone(wrap), "dockerd", "-H", "unix://"+filepath.Join(dir, "s"),
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
		cmd.Stdout, cmd.Stderr = log, log
		if err := cmd.Start(); err != nil {
			return nil, err
		}
		return func() error {
			if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
				return err
			}
			return cmd.Wait()
		}, nil
	}
}

// private starts an engine of our own kind.
func private(proxy string) start {
	return func(ctx context.Context, dir string) (func() error, error) {
		cfg := dockerd.Config{
			UID: "startbench-" + filepath.Base(dir), Name: "startbench",
			DataRoot: filepath.Join(dir, "data"), ExecRoot: filepath.Join(dir, "x"), StateDir: filepath.Join(dir, "state"),
			Socket: filepath.Join(dir, "s"), LogPath: filepath.Join(dir, "log"), Proxy: proxy,
		}
		if err := dockerd.Check(ctx, cfg); err != nil {
			return nil, err
		}
		engine, err := dockerd.Start(ctx, cfg)
		if err != nil {
			return nil, err
		}
		return func() error { return engine.Stop(ctx) }, nil
	}
}

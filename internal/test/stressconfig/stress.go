package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	dockerconfig "github.com/docker/cli/cli/config"
	"github.com/docker/cli/cli/config/types"

	"github.com/docker-rd/docker-rd/dockercontext/configfile"
	"github.com/docker-rd/docker-rd/lock"
)

const (
	modeControl       = "control"
	modeOurs          = "ours"
	modeWithoutLeases = "ours-without-leases"
	modeDocker        = "docker-context-use"

	// writerCommand is the first argument of a writer process.
	writerCommand = "__writer"
	// contextName is what the loop makes current.
	contextName = "rd"
)

var allModes = []string{modeControl, modeOurs, modeWithoutLeases, modeDocker}

type options struct {
	writers int // processes
	saves   int // by each
}

type result struct {
	writes, survived int
	edits            int // that the loop has made
	collisions       int // edits that met somebody else's write; -1 where it can't be known
	took             time.Duration
}

func (r result) collided() string {
	if r.collisions < 0 {
		return "-"
	}
	return strconv.Itoa(r.collisions)
}

// stress runs the writers and, beside them, the loop of mode, and counts.
func stress(ctx context.Context, dir, mode string, o options) (result, error) {
	r := result{writes: o.writers * o.saves}
	edit, err := editor(dir, mode, &r)
	if err != nil {
		return r, err
	}
	start := time.Now()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	written := make(chan error, 1)
	go func() { written <- runWriters(ctx, dir, o) }()
	for next := contextName; ; {
		select {
		case err := <-written:
			if err != nil {
				return r, err
			}
			r.took = time.Since(start)
			r.survived, err = survivors(dir, o)
			return r, err
		default:
		}
		if edit == nil {
			time.Sleep(time.Millisecond) // control: only the writers work
			continue
		}
		if err := edit(ctx, next); err != nil {
			cancel()
			return r, errors.Join(err, <-written)
		}
		r.edits++
		if next != "" {
			next = ""
		} else {
			next = contextName
		}
	}
}

// editor returns what sets currentContext in mode, nil for the control.
func editor(dir, mode string, r *result) (func(ctx context.Context, next string) error, error) {
	path := filepath.Join(dir, dockerconfig.ConfigFileName)
	update := configfile.Update
	switch mode {
	case modeControl:
		return nil, nil
	case modeOurs:
	case modeWithoutLeases:
		update = configfile.UpdateWithoutLeases
	case modeDocker:
		r.collisions = -1
		return func(ctx context.Context, next string) error {
			if next == "" {
				next = "default"
			}
			return docker(ctx, dir, "context", "use", next)
		}, docker(context.Background(), dir, "context", "create", contextName, "--docker", "host=unix:///nonexistent")
	default:
		return nil, fmt.Errorf("unknown mode %q, not one of %s", mode, strings.Join(allModes, ", "))
	}
	return func(ctx context.Context, next string) error {
		asked := 0
		_, err := update(ctx, path, func(configfile.Value) (configfile.Value, bool) {
			asked++
			return configfile.Value{Name: next}, true
		})
		if asked > 1 {
			r.collisions++
		}
		return err
	}, nil
}

func docker(ctx context.Context, dir string, args ...string) error {
	cmd := exec.CommandContext(ctx, "docker", append([]string{"--config", dir}, args...)...)
	cmd.Env = append(os.Environ(), "DOCKER_CONTEXT=", "DOCKER_HOST=")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", cmd, err, out)
	}
	return nil
}

func runWriters(ctx context.Context, dir string, o options) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	var cmds []*exec.Cmd
	for i := range o.writers {
		cmd := exec.CommandContext(ctx, self, writerCommand, dir, strconv.Itoa(i), strconv.Itoa(o.saves))
		cmd.Stderr = os.Stderr
		if err = cmd.Start(); err != nil {
			break
		}
		cmds = append(cmds, cmd)
	}
	for _, cmd := range cmds {
		err = errors.Join(err, cmd.Wait())
	}
	return err
}

// writerMain is a writer process: it saves one credential after the other.
func writerMain(args []string) {
	dir := args[0]
	writer, _ := strconv.Atoi(args[1])
	saves, _ := strconv.Atoi(args[2])
	for i := range saves {
		if err := save(dir, entry(writer, i)); err != nil {
			fmt.Fprintf(os.Stderr, "stressconfig: writer %d: %v\n", writer, err)
			os.Exit(1)
		}
	}
}

func entry(writer, i int) string { return fmt.Sprintf("writer%d-%d.example.test", writer, i) }

// save is what `docker login` does, under a lock of the writers alone.
func save(dir, registry string) error {
	release, err := lock.Acquire(context.Background(), filepath.Join(dir, "writers.lock"))
	if err != nil {
		return err
	}
	defer release()
	config, err := dockerconfig.Load(dir)
	if err != nil {
		return err
	}
	config.AuthConfigs[registry] = types.AuthConfig{Username: "user", Password: "secret"}
	return config.Save()
}

func survivors(dir string, o options) (int, error) {
	config, err := dockerconfig.Load(dir)
	if err != nil {
		return 0, err
	}
	n := 0
	for writer := range o.writers {
		for i := range o.saves {
			if _, ok := config.AuthConfigs[entry(writer, i)]; ok {
				n++
			}
		}
	}
	return n, nil
}

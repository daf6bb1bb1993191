package configfile

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	dockerconfig "github.com/docker/cli/cli/config"
	"github.com/docker/cli/cli/config/types"

	"github.com/docker-rd/docker-rd/internal/test/wine"
	"github.com/docker-rd/docker-rd/lock"
)

// What runs beside the writers of [TestStress].
const (
	modeControl       = "control" // nobody
	modeOurs          = "ours"
	modeWithoutLeases = "ours-without-leases" // as on systems that have none
	modeDocker        = "docker-context-use"  // the docker CLI in our place
)

var (
	stressModes   = flag.String("stress.modes", strings.Join([]string{modeControl, modeOurs, modeWithoutLeases, modeDocker}, ","), "what runs beside the writers, comma-separated")
	stressWriters = flag.Int("stress.writers", 3, "number of writer processes")
	stressSaves   = flag.Int("stress.saves", 60, "credentials that each of them saves")
	stressRuns    = flag.Int("stress.runs", 1, "runs of each mode")
	stressDir     = flag.String("stress.dir", "", "where to work, to choose the file system (default a temporary directory)")
)

// contextName is what the loop makes current.
const contextName = "rd"

// TestStress counts what is lost of the writes that other programs make to a docker configuration
// while its currentContext is promoted and demoted. `make stress-config` does it for longer.
//
// The others are real: processes that load, change and save the file with docker/cli's own code.
// They are serialised among themselves, so that none of the losses is one they inflict on each
// other; the control, with nobody beside them, shows that. Beside them runs one loop that sets and
// unsets currentContext.
func TestStress(t *testing.T) {
	wine.Skip(t)
	for mode := range strings.SplitSeq(*stressModes, ",") {
		for range *stressRuns {
			t.Run(mode, func(t *testing.T) { stressIn(t, mode) })
		}
	}
}

func stressIn(t *testing.T, mode string) {
	if mode == modeDocker {
		if _, err := exec.LookPath("docker"); err != nil {
			t.Skip("docker is not installed")
		}
	}
	if mode == modeWithoutLeases {
		withoutLeases(t)
	}
	dir, err := os.MkdirTemp(*stressDir, "stress-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	r, err := stress(t.Context(), dir, mode)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s: of %d writes %d are lost, beside %d edits with %s collisions, in %s",
		mode, r.writes, r.writes-r.survived, r.edits, r.collided(), r.took.Round(time.Millisecond))
	if r.survived < 1 || r.survived > r.writes {
		t.Errorf("%d of %d writes survived", r.survived, r.writes)
	}
	if mode != modeControl && r.edits == 0 {
		t.Error("nothing was edited beside the writers")
	}
	lossless := mode == modeControl || mode == modeOurs && runtime.GOOS == "linux"
	if lossless && r.survived != r.writes {
		t.Errorf("%d of %d writes survived, want all", r.survived, r.writes)
	}
}

type result struct {
	writes, survived int
	edits            int // that the loop has made
	collisions       int // edits that met somebody else's write; -1 where it can't be known
	took             time.Duration
}

func (r result) collided() string {
	if r.collisions < 0 {
		return "unknown"
	}
	return strconv.Itoa(r.collisions)
}

// stress runs the writers and, beside them, the loop of mode, and counts.
func stress(ctx context.Context, dir, mode string) (result, error) {
	r := result{writes: *stressWriters * *stressSaves}
	edit, err := editor(dir, mode, &r)
	if err != nil {
		return r, err
	}
	start := time.Now()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	written := make(chan error, 1)
	go func() { written <- runWriters(ctx, dir) }()
	for next := contextName; ; {
		select {
		case err := <-written:
			if err != nil {
				return r, err
			}
			r.took = time.Since(start)
			r.survived, err = survivors(dir)
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
	switch mode {
	case modeControl:
		return nil, nil
	case modeOurs, modeWithoutLeases:
	case modeDocker:
		r.collisions = -1
		return func(ctx context.Context, next string) error {
			if next == "" {
				next = "default"
			}
			return docker(ctx, dir, "context", "use", next)
		}, docker(context.Background(), dir, "context", "create", contextName, "--docker", "host=unix:///nonexistent")
	default:
		return nil, fmt.Errorf("unknown mode %q", mode)
	}
	return func(ctx context.Context, next string) error {
		asked := 0
		_, err := Update(ctx, path, func(Value) (Value, bool) {
			asked++
			return Value{Name: next}, true
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

func runWriters(ctx context.Context, dir string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	var cmds []*exec.Cmd
	for i := range *stressWriters {
		cmd := exec.CommandContext(ctx, self)
		cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s=%d=%d", envWriter, dir, i, *stressSaves), "GORACE=atexit_sleep_ms=0")
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

// writer is a writer process: it saves one credential after the other, as told by envWriter.
func writer(told string) int {
	args := strings.Split(told, "=")
	number, _ := strconv.Atoi(args[1])
	saves, _ := strconv.Atoi(args[2])
	for i := range saves {
		if err := save(args[0], registryOf(number, i)); err != nil {
			fmt.Fprintf(os.Stderr, "writer %d: %v\n", number, err)
			return 1
		}
	}
	return 0
}

func registryOf(writer, i int) string { return fmt.Sprintf("writer%d-%d.example.test", writer, i) }

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

func survivors(dir string) (int, error) {
	config, err := dockerconfig.Load(dir)
	if err != nil {
		return 0, err
	}
	n := 0
	for writer := range *stressWriters {
		for i := range *stressSaves {
			if _, ok := config.AuthConfigs[registryOf(writer, i)]; ok {
				n++
			}
		}
	}
	return n, nil
}

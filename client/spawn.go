package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/docker-rd/docker-rd/instance"
	"github.com/docker-rd/docker-rd/internal/endpoint"
	"github.com/docker-rd/docker-rd/internal/files"
	"github.com/docker-rd/docker-rd/internal/logfile"
	"github.com/docker-rd/docker-rd/internal/process"
	"github.com/docker-rd/docker-rd/supervisor/wire"
)

// A childProcess is a supervisor that this process has started.
type childProcess struct {
	id   process.ID
	done <-chan struct{} // closed when it has ended
	// To be read after done:
	err    error       // how it has ended, nil for exit status 0
	report wire.Report // why it has ended
}

// killed reports whether a signal has ended it. Call it after done.
func (c *childProcess) killed() bool { return c.exitedWith(-1) }

func (c *childProcess) exitedWith(code int) bool {
	exit, ok := errors.AsType[*exec.ExitError](c.err)
	return ok && exit.ExitCode() == code
}

func (c *childProcess) ended() bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

// spawnToStop starts a supervisor that only stops what the last one has left.
func spawnToStop(i *instance.Instance, o StopOptions) (*childProcess, error) {
	options, err := json.Marshal(o)
	if err != nil {
		return nil, fmt.Errorf("start supervisor: %w", err)
	}
	return spawn(i, string(options))
}

// spawn starts a supervisor for the instance in a session of its own, without this process's
// pipes, so that it outlives this process. If there is a supervisor already, the new one ends at
// once with exit status 0.
func spawn(i *instance.Instance, args ...string) (*childProcess, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("start supervisor: %w", err)
	}
	// Standard error, with panics, goes to the log. If that can't be written, a stop must still
	// be possible.
	log, err := openLog(i)
	if err != nil && len(args) == 0 {
		return nil, fmt.Errorf("start supervisor: %w", err)
	}
	if log != nil {
		defer log.Close()
	}
	cmd := exec.Command(exe, append([]string{wire.Verb, i.Paths.State}, args...)...)
	cmd.Dir = filepath.Dir(i.Paths.State) // there as long as the supervisor's files are
	cmd.Env = environment(os.Environ(), i.DockerConfig)
	if log != nil {
		cmd.Stderr = log
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start supervisor: %w", err)
	}
	detach(cmd)
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start supervisor: %w", err)
	}
	done := make(chan struct{})
	c := &childProcess{done: done}
	c.id, err = process.FindChild(cmd.Process.Pid) // it may have failed already
	go func() {
		defer close(done)
		c.report = wire.ReadReport(out)
		c.err = cmd.Wait()
	}()
	if err != nil {
		return nil, fmt.Errorf("start supervisor: %w", err)
	}
	return c, nil
}

// CheckFiles returns an error if the instance's files can't be written, as on a full disk: a start
// would fail.
func CheckFiles(i *instance.Instance) error {
	log, err := openLog(i)
	if err != nil {
		return fmt.Errorf("start supervisor: %w", err)
	}
	_ = log.Close()
	const room = 64 << 10
	file, err := os.CreateTemp(i.Paths.State, "room-")
	if err == nil {
		_, err = file.Write(make([]byte, room))
		err = errors.Join(err, file.Close(), files.Remove(file.Name()))
	}
	if err != nil {
		return fmt.Errorf("instance %q: %w", i.Name, err)
	}
	return nil
}

// openLog opens the supervisor's log.
func openLog(i *instance.Instance) (*os.File, error) {
	if err := os.Mkdir(i.Paths.LogDir(), 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	return logfile.Open(i.Paths.SupervisorLog())
}

// environment returns the environment for a supervisor, without variables that lead docker to
// another engine.
func environment(env []string, dockerConfig string) []string {
	env = slices.DeleteFunc(slices.Clone(env), func(kv string) bool {
		name, _, _ := strings.Cut(kv, "=")
		return name == "DOCKER_CONFIG" || slices.Contains(endpoint.Variables, name)
	})
	return append(env, "DOCKER_CONFIG="+dockerConfig)
}

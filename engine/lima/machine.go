package lima

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"sync"
	"time"

	"github.com/docker-rd/docker-rd/engine/processes"
	"github.com/docker-rd/docker-rd/internal/files"
	"github.com/docker-rd/docker-rd/internal/logfile"
	"github.com/docker-rd/docker-rd/internal/pause"
	"github.com/docker-rd/docker-rd/internal/process"
	"github.com/docker-rd/docker-rd/internal/relay"
	"github.com/docker-rd/docker-rd/lock"
)

const (
	// bootTimeout is how long limactl waits for a machine that installs Docker. Who waits for
	// docker rd gives up earlier.
	bootTimeout = time.Hour
	// endTimeout bounds a forced end.
	endTimeout = time.Minute
	// retryDelay is the least time between two attempts to reach an engine that does not answer.
	retryDelay = 500 * time.Millisecond
)

// A Machine is a running machine, or one that has ended.
type Machine struct {
	cfg      Config
	record   record
	offset   int64         // of the log, when it was started
	exited   chan struct{} // closed when the machine has ended
	booted   chan struct{} // closed when limactl takes it for ready, or gives up
	problems processes.Problems

	watching context.Context    // of the watchers
	cancel   context.CancelFunc // ends it
	watchers sync.WaitGroup
}

// Start makes the machine, if there is none, and starts it. It returns as soon as the machine runs;
// until then it may have to load an image. If it runs already, the error is [processes.ErrRunning].
// After any other error nothing is left running. That includes an end of ctx; afterwards ctx has no
// effect.
func (c *Config) Start(ctx context.Context) (processes.Running, error) {
	if held, err := lock.Held(c.lock()); err != nil || held {
		if r, err := c.record(ctx); err != nil || r.Engine.Alive() {
			return nil, errors.Join(err, processes.ErrRunning)
		}
		if _, err := c.Cleanup(ctx); err != nil {
			return nil, err
		}
	}
	m, err := c.launch(ctx)
	if err == nil {
		err = m.watch()
	}
	if err != nil {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTimeout)
		defer cancel()
		_, cleanErr := c.Cleanup(end)
		return nil, errors.Join(err, cleanErr)
	}
	return m, nil
}

// launch runs limactl start, which goes on until the machine is ready.
func (c *Config) launch(ctx context.Context) (*Machine, error) {
	if err := os.MkdirAll(c.Paths.EngineState(), 0o700); err != nil {
		return nil, err
	}
	held, err := lock.TryInherit(c.lock())
	if err != nil {
		return nil, err
	}
	defer held.Close()
	if err := errors.Join(c.clean(), c.writeOverride()); err != nil {
		return nil, err
	}
	log, err := logfile.Open(c.Paths.EngineLog())
	if err != nil {
		return nil, err
	}
	defer log.Close()
	m := &Machine{cfg: *c, exited: make(chan struct{}), booted: make(chan struct{})}
	if info, err := log.Stat(); err == nil {
		m.offset = info.Size()
	}
	cmd := c.limactl(context.WithoutCancel(ctx), c.startArgs()...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.ExtraFiles = []*os.File{held}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	var failed error // of limactl; set before booted is closed
	go func() {
		defer close(m.booted)
		failed = cmd.Wait()
	}()
	if m.record.Launch, err = process.FindChild(cmd.Process.Pid); err == nil {
		err = c.write(m.record)
	}
	if err == nil {
		err = m.await(ctx, &failed)
	}
	if err != nil {
		kill(m.record.Launch)
		return nil, err
	}
	if err := files.Replace(c.dir(templateFile), []byte(c.template()+"\n")); err != nil {
		c.Log.WarnContext(ctx, "template not recorded", "error", err)
	}
	return m, c.write(m.record)
}

// startArgs are the arguments by which limactl starts the machine, or makes it.
func (c *Config) startArgs() []string {
	args := []string{"start", "--timeout=" + bootTimeout.String()}
	if files.Exists(c.dir("lima.yaml")) {
		return append(args, machine)
	}
	return append(args, "--name="+machine, c.template())
}

// await waits until the machine runs. Failed is why limactl has ended, once booted is closed.
func (m *Machine) await(ctx context.Context, failed *error) (err error) {
	for err == nil && m.record.Engine.PID == 0 {
		select {
		case <-m.booted: // it is ready already, or has failed
			if m.record, err = m.cfg.record(ctx); err != nil || !m.record.Engine.Alive() {
				return m.failure(*failed)
			}
		case <-time.After(pauseTime):
			if len(m.cfg.pids()) > 1 { // that of the host agent, and another one
				m.record, err = m.cfg.record(ctx)
			}
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	return err
}

// failure returns why limactl has ended without a machine.
func (m *Machine) failure(err error) error {
	if words := m.LastError(); words != "" {
		return fmt.Errorf("limactl start: %s", words)
	}
	return fmt.Errorf("limactl start: %w", err)
}

// Adopt returns the machine that another process has started; nil if it does not run. Ctx bounds
// the questions to limactl, and has no effect afterwards.
func (c *Config) Adopt(ctx context.Context) (processes.Running, error) {
	m := &Machine{cfg: *c, record: c.read(), exited: make(chan struct{}), booted: make(chan struct{})}
	if !m.record.Engine.Alive() {
		if held, err := lock.Held(c.lock()); err != nil || !held {
			return nil, err
		}
		var err error
		if m.record, err = c.record(ctx); err != nil || !m.record.Engine.Alive() {
			return nil, err
		}
		if err := c.write(m.record); err != nil {
			return nil, err
		}
	}
	if err := m.watch(); err != nil {
		return nil, err
	}
	m.watchers.Go(func() {
		if m.record.Launch.Wait(m.watching) == nil {
			close(m.booted)
		}
	})
	return m, nil
}

// watch begins to watch the machine, and to serve its engine's socket.
func (m *Machine) watch() error {
	l, err := relay.Listen(m.cfg.Socket())
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	m.watching, m.cancel = ctx, cancel
	m.watchers.Go(func() {
		r := relay.Relay{Dial: m.dial, Log: m.cfg.Log}
		r.Serve(ctx, l)
	})
	m.watchers.Go(func() {
		if m.record.Engine.Wait(ctx) == nil {
			close(m.exited)
		}
	})
	m.watchers.Go(func() { m.watchPorts(ctx) })
	m.watchers.Go(func() {
		if m.record.HostAgent.Wait(ctx) == nil && m.record.Engine.Alive() {
			m.problems.Set("host agent", "the machine's host agent has ended: no port that is published from now on is served until the instance is restarted")
		}
	})
	return nil
}

// dial connects to the engine, not before the machine is ready: it ends all sessions while it
// boots.
func (m *Machine) dial(ctx context.Context) (net.Conn, error) {
	select {
	case <-m.booted:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	conn, err := m.cfg.engine().Dial(ctx)
	if err != nil {
		_ = pause.For(ctx, retryDelay)
	}
	return conn, err
}

// ID implements [processes.Process].
func (m *Machine) ID() process.ID { return m.record.Engine }

// Exited implements [processes.Process].
func (m *Machine) Exited() <-chan struct{} { return m.exited }

// Problems implements [processes.Process].
func (m *Machine) Problems() (list []processes.Problem, changed <-chan struct{}) {
	return m.problems.List()
}

// Release implements [processes.Running].
func (m *Machine) Release() {
	m.cancel()
	m.watchers.Wait()
}

// Stop ends the machine: it shuts down until ctx ends, and then is killed.
func (m *Machine) Stop(ctx context.Context) (killed []string, err error) {
	if ctx.Err() == nil {
		if err := m.shutDown(ctx); err != nil {
			m.cfg.Log.WarnContext(ctx, "the machine does not shut down, and is killed", "error", err)
		}
	}
	m.Release()
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTimeout)
	defer cancel()
	return m.cfg.Cleanup(end)
}

// shutDown shuts the machine down. limactl refuses where the host agent has ended.
func (m *Machine) shutDown(ctx context.Context) error {
	if m.record.HostAgent.Alive() {
		return m.cfg.run(ctx, "stop", machine)
	}
	cmd := exec.CommandContext(ctx, "ssh", append([]string{"-o", "ControlPath=none"}, append(m.cfg.SSH(), "sudo poweroff")...)...)
	said, err := cmd.CombinedOutput() // it may fail because it works
	select {
	case <-m.exited:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("poweroff: %w: %s", errors.Join(ctx.Err(), err), lastLine(string(said)))
	}
}

// Cleanup kills what runs of the machine, and returns when nothing does. It can't tell which
// containers it kills. If ctx ends first, the error says what still runs.
func (c *Config) Cleanup(ctx context.Context) (killed []string, err error) {
	held, err := lock.Held(c.lock())
	if err != nil {
		return nil, err
	}
	if held {
		r := c.read()
		kill(r.Launch)
		if err := c.run(ctx, "stop", "--force", machine); err != nil {
			c.Log.WarnContext(ctx, "the machine is killed without limactl", "error", err)
		}
		kill(r.Engine, r.HostAgent)
		for held && err == nil {
			kill(c.pids()...)
			if pause.For(ctx, pauseTime) != nil {
				return nil, fmt.Errorf("processes of the machine in %q do not end: %w", c.Paths.Data, ctx.Err())
			}
			held, err = lock.Held(c.lock())
		}
	}
	if err != nil {
		return nil, err
	}
	return nil, errors.Join(c.clean(), files.RemoveAll(c.Paths.EngineFile()), relay.RemoveSocket(c.Socket()))
}

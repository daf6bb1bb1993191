package client

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/docker-rd/docker-rd/engine"
	"github.com/docker-rd/docker-rd/instance"
	"github.com/docker-rd/docker-rd/internal/failure"
	"github.com/docker-rd/docker-rd/lock"
	"github.com/docker-rd/docker-rd/mirror"
	"github.com/docker-rd/docker-rd/mirror/state"
	"github.com/docker-rd/docker-rd/requests"
)

// Sync brings the instance's mirror up to date with its engine once: the supervisor does it where
// one runs, otherwise this process. With sizes, it also measures what objects take on disk. After
// an error the state file is as it was. That includes an end of ctx.
func Sync(ctx context.Context, i *instance.Instance, sizes bool) error {
	for {
		before := instance.Observe(i)
		if err := RefuseNewer(i, before.StateErr); err != nil {
			return err // it would be replaced
		}
		if before.Live {
			o, err := Request(ctx, i, requests.Request{Type: requests.RequestSync, Sizes: sizes})
			if err == nil && o.Error != "" {
				err = fmt.Errorf("instance %q: %s", i.Name, o.Error)
			}
			return err
		}
		err := syncHere(ctx, i, sizes)
		if err != nil && removed(i) {
			return removedError(i)
		}
		if !errors.Is(err, lock.ErrHeld) {
			return err
		}
		// Another process starts, stops or syncs it.
		for _, path := range []string{i.Paths.StartLock(), i.Paths.SupervisorLock()} {
			_ = awaitFree(ctx, path, lookAgain)
		}
		if ctx.Err() != nil {
			return fmt.Errorf("sync instance %q: %w", i.Name, err)
		}
	}
}

// syncHere does one full sync in place of a supervisor.
func syncHere(ctx context.Context, i *instance.Instance, sizes bool) error {
	// The start lock makes starts wait: they would take this process for a supervisor.
	for _, path := range []string{i.Paths.StartLock(), i.Paths.SupervisorLock()} {
		release, err := lock.TryAcquire(path)
		if err != nil {
			return err
		}
		defer release()
	}
	log := slog.New(slog.DiscardHandler) // errors are returned
	driver, err := engine.DriverFor(i, log)
	if err != nil {
		return err
	}
	if !i.Settings.Adopts() && driver.Life() != engine.Alive {
		return problem(i, NotRunning, fmt.Errorf("instance %q: its engine is not running", i.Name))
	}
	err = syncOnce(ctx, i, driver, log, sizes)
	if errors.Is(err, context.DeadlineExceeded) {
		err = failure.Timeout("instance %q: the engine did not answer in time", i.Name)
	} else if err != nil && ctx.Err() == nil {
		err = fmt.Errorf("instance %q: %w", i.Name, err)
	}
	return problem(i, Unanswered, err)
}

// answerTimeout is how long an engine may take to say that it is one.
const answerTimeout = 10 * time.Second

// answers returns an error unless an engine answers soon.
func answers(ctx context.Context, e mirror.Engine) error {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	return e.Ping(ctx)
}

// syncOnce syncs in full and writes the state. The last supervisor stays in it: what it has left
// is still to be stopped.
func syncOnce(ctx context.Context, i *instance.Instance, driver engine.Driver, log *slog.Logger, sizes bool) error {
	ep, err := driver.Endpoint()
	if err != nil {
		return err
	}
	// Opening the store may put a damaged file aside, so that comes after the engine has
	// answered.
	connect := i.Connector(driver.Endpoint).Connect
	api, err := connect()
	if err != nil {
		return err
	}
	defer api.Close()
	if err := answers(ctx, api); err != nil {
		return err
	}
	store, err := mirror.OpenStore(i.Paths.StateFile(), i.Paths.StateLock(), i.Describe(ep.Shown()), log.With("part", "mirror"))
	if err != nil {
		return err
	}
	source := mirror.NewSource(mirror.SourceOptions{
		Connect: connect,
		Log:     log,
	})
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	defer func() {
		cancel()
		<-ended
	}()
	go func() {
		defer close(ended)
		_ = source.Run(ctx)
	}()
	synced := make(chan error, 1)
	go func() { synced <- source.Sync(ctx) }()
	for {
		select {
		case u := <-source.Updates():
			if u.Sync != nil && u.Sync.Reason == state.ReasonDisconnected {
				return errors.New(u.Sync.Message)
			}
			store.Apply(u)
		case err := <-synced:
			if err != nil {
				return err
			}
			if sizes {
				usage, err := mirror.Measure(ctx, api)
				if err != nil {
					return err
				}
				store.SetUsage(usage)
			}
			store.Disconnect("synced once, without a supervisor")
			return store.Flush(ctx)
		}
	}
}

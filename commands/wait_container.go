package commands

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/docker-rd/docker-rd/client"
	"github.com/docker-rd/docker-rd/commands/objects"
	"github.com/docker-rd/docker-rd/instance"
	"github.com/docker-rd/docker-rd/internal/failure"
	"github.com/docker-rd/docker-rd/mirror/state"
)

// containerPrefix begins the target for a container.
const containerPrefix = "container/"

// Targets for a container.
const (
	isRunning = "running"
	isHealthy = "healthy"
	isExited  = "exited"
	isGone    = "gone"
)

var containerStates = []string{isRunning, isHealthy, isExited, isGone}

// justNow is how long before the command a container may have been removed to be found by its
// name: names are used again.
const justNow = 10 * time.Second

type containerWait struct {
	i          *instance.Instance
	t          reporter
	word, want string
	since      time.Time // tombstones with the name count from then on
	seen       string    // key of the container that was found last
	found      string    // the actual state, for a message
}

func (a *app) parseContainer(target, container string) (wait, error) {
	word, want, _ := strings.Cut(container, "=")
	if word == "" || !slices.Contains(containerStates, want) {
		return nil, failure.Refuse("target %q: it can be %sNAME=running, healthy, exited or gone", target, containerPrefix)
	}
	return func(ctx context.Context, i *instance.Instance, t reporter) error {
		return (&containerWait{i: i, t: t, word: word, want: want, since: time.Now().Add(-justNow)}).wait(ctx, a)
	}, nil
}

// wait waits until the container is as wanted, in a mirror that is up to date.
func (w *containerWait) wait(ctx context.Context, a *app) error {
	i := w.i
	// The mirror must have seen all that happened before the command was typed.
	w.tell("what happened before is looked up")
	err := client.Settle(ctx, i)
	switch {
	case err == nil, client.Is(err, client.NotRunning), client.Is(err, client.Disconnected):
		err = client.FollowObjects(ctx, i, func(o instance.Observation) (bool, error) {
			more, err := w.look(ctx, o)
			if more && err == nil {
				w.tell(w.found)
			}
			return more, err
		})
	case ctx.Err() != nil:
		err = ctx.Err()
	}
	if errors.Is(err, context.DeadlineExceeded) && w.found == "" {
		w.lookAtLast(ctx)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		list := "containers"
		if w.seen != "" {
			list += " " + shellQuote(w.word)
		}
		return failure.WithHint(failure.Timeout("instance %q: container %q is not %s in time: %s", i.Name, w.word, w.want, w.found),
			"`docker-rd get%s %s` shows more", a.hinter().flag(i.Name), list)
	}
	if err == nil {
		w.t.did(fmt.Sprintf("Instance %q: container %q is %s", i.Name, w.word, w.want))
	}
	return err
}

func (w *containerWait) tell(how string) {
	w.t.live(fmt.Sprintf("Waiting for container %q of instance %q to be %s: %s", w.word, w.i.Name, w.want, how),
		fmt.Sprintf("Instance %q: container %q is not %s", w.i.Name, w.word, w.want))
}

// lookAtLast looks at the mirror as it is, only for the message.
func (w *containerWait) lookAtLast(ctx context.Context) {
	s, err := state.Read(w.i.Paths.StateFile())
	more := false
	if err == nil {
		more, err = w.look(ctx, instance.Observation{State: s, Live: instance.Live(s)})
	}
	if !more || err != nil {
		w.found = "the mirror is not up to date yet"
	}
}

// look looks at one state, and returns whether to wait for another.
func (w *containerWait) look(ctx context.Context, o instance.Observation) (more bool, err error) {
	if err := client.RefuseNewer(w.i, o.StateErr); err != nil {
		return false, err
	}
	if o.State == nil {
		w.found = "there is no mirror yet"
		return true, nil
	}
	if w.found = staleness(w.i, o.State, o.Live, time.Now()); w.found != "" {
		return true, client.Failed(ctx, w.i, o)
	}
	k := objects.Containers()
	if len(k.Find(o.State, w.word)) == 0 {
		return w.missing(o.State), nil
	}
	key, err := k.One(o.State, w.word)
	if err != nil {
		return false, err
	}
	w.seen = key
	return w.judge(o.State.Containers[key])
}

func (w *containerWait) missing(s *state.State) (more bool) {
	w.found = "it does not exist"
	if w.want != isExited {
		return w.want != isGone
	}
	if w.seen != "" {
		return false
	}
	for _, d := range s.Deleted {
		if d.Kind != state.Containers {
			continue
		}
		byID := len(w.word) >= len("0123456789ab") && strings.HasPrefix(d.ID, w.word)
		if byID || d.Name == w.word && d.DeletedAt.After(w.since) {
			return false
		}
		if d.Name == w.word {
			w.found = fmt.Sprintf("it does not exist; one of that name was removed %s ago", humanDuration(time.Since(d.DeletedAt)))
		}
	}
	return true
}

func (w *containerWait) judge(c state.Container) (more bool, err error) {
	w.found = fmt.Sprintf("it is %s", c.State)
	if c.Health != state.HealthNone && c.Health != "" {
		w.found += fmt.Sprintf(" (%s)", c.Health)
	}
	failed := c.Error != "" && (c.State == state.StateCreated || c.State == state.StateExited && w.want != isExited)
	switch {
	case failed && w.want != isGone:
		return false, fmt.Errorf("instance %q: container %q could not be started: %s", w.i.Name, w.word, c.Error)
	case w.want == isHealthy && c.State == state.StateRunning && c.Health == state.HealthNone:
		return false, failure.Refuse("container %q has no health check", w.word)
	case w.want == isHealthy:
		return c.State != state.StateRunning || c.Health != state.HealthHealthy, nil
	}
	return c.State != w.want, nil // these targets are states
}

package commands

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/docker/go-units"
	"github.com/spf13/cobra"

	"github.com/docker-rd/docker-rd/client"
	"github.com/docker-rd/docker-rd/commands/objects"
	"github.com/docker-rd/docker-rd/instance"
	"github.com/docker-rd/docker-rd/internal/failure"
	"github.com/docker-rd/docker-rd/mirror/state"
)

func (a *app) readState(i *instance.Instance) (*state.State, error) {
	s, err := state.Read(i.Paths.StateFile())
	return s, a.readError(i, err)
}

// current reads the instance's mirror once it is up to date. If the engine is not connected,
// it reads the mirror as it is.
func (a *app) current(ctx context.Context, i *instance.Instance) (*state.State, error) {
	if err := client.Settle(ctx, i); err != nil && !client.Is(err, client.Disconnected) {
		return nil, err
	}
	return a.readState(i)
}

// find calls find with the instance's mirror, and, if an object is missing, again after a full
// sync: engines send no event for some changes.
func (a *app) find(ctx context.Context, i *instance.Instance, find func(*state.State) error) error {
	s, err := a.current(ctx, i)
	if err != nil {
		return err
	}
	err = find(s)
	if _, missing := errors.AsType[*objects.NotFoundError](err); !missing || !s.Mirror.Connected {
		return err
	}
	if syncErr := client.Sync(ctx, i, false); syncErr != nil {
		return syncErr
	}
	if s, err = a.readState(i); err != nil {
		return err
	}
	return find(s)
}

// named adds the verb and the object to err, unless it is a refusal, which names the object.
func named(verb, object string, err error) error {
	if failure.Code(err) == failure.CodeRefused {
		return err
	}
	return fmt.Errorf("%s %s: %w", verb, object, err)
}

// followMirror calls show with the instance's mirror, now and after each change, until ctx
// ends. See [interrupted] for the error.
func (a *app) followMirror(ctx context.Context, i *instance.Instance, show func(*state.State, time.Time) error) error {
	shown, note := false, ""
	err := client.FollowObjects(ctx, i, func(o instance.Observation) (bool, error) {
		if shown && (errors.Is(o.StateErr, state.ErrCorrupt) || errors.Is(o.StateErr, fs.ErrNotExist)) {
			return true, nil // it is being rewritten, or the instance removed
		}
		if o.StateErr != nil {
			return false, a.readError(i, o.StateErr)
		}
		a.noteAge(&note, i, o.State, o.Live)
		shown = true
		return true, show(o.State, moment(i, o.State, o.Live))
	})
	return interrupted(ctx, err)
}

// interrupted returns the error of a command that runs until it is interrupted. As in docker,
// an interruption has an exit status but no message.
func interrupted(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return ExitStatus(failure.CodeInterrupted)
	}
	return err
}

func (a *app) readError(i *instance.Instance, err error) error {
	newer := client.RefuseNewer(i, err)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return &client.Error{Instance: i, Problem: client.NotRunning, Err: failure.Refuse("instance %q has no mirror yet", i.Name)}
	case newer != nil:
		return newer
	case errors.Is(err, state.ErrCorrupt):
		return failure.WithHint(err, "%s rewrites it", a.hinter().run("sync", i.Name))
	}
	return err
}

// neverSynced refuses a mirror that is empty only because it was never synced.
func (a *app) neverSynced(i *instance.Instance, s *state.State) error {
	synced, _ := s.Condition(state.MirrorSynced)
	if !s.Mirror.SyncedAt.IsZero() || synced.Reason == state.ReasonListed {
		return nil
	}
	err := failure.Refuse("instance %q: its mirror was never synced", i.Name)
	if instance.Live(s) {
		return failure.WithHint(err, "%s waits for it", a.hinter().run("wait", i.Name))
	}
	return &client.Error{Instance: i, Problem: client.NotRunning, Err: err}
}

// staleness says why an instance's mirror may differ from its engine and how old it is, "" if
// it is up to date. Live says that the supervisor that wrote it runs.
func staleness(i *instance.Instance, s *state.State, live bool, now time.Time) string {
	synced, _ := s.Condition(state.MirrorSynced)
	unwritten := live && state.Stale(i.Paths.StateFile())
	why := "no supervisor runs"
	switch {
	case live && s.Mirror.Connected && synced.Status == state.True && !unwritten:
		return ""
	case unwritten:
		why = "the mirror can't be written"
	case live && s.Mirror.Connected:
		return fmt.Sprintf("the mirror is not complete yet (%s)", synced.Reason)
	case live:
		why = "the engine is not connected"
	case stopped(s):
		return why + ": the instance is stopped, and its mirror is empty"
	}
	at := asOf(s, synced)
	if at.IsZero() {
		return why + ", and the mirror was never synced"
	}
	return fmt.Sprintf("%s: the mirror is %s old", why, humanDuration(max(0, now.Sub(at))))
}

// stopped reports whether a stop has emptied the mirror.
func stopped(s *state.State) bool {
	c, _ := s.Condition(state.EngineReady)
	return c.Reason == state.ReasonStopped && len(s.Containers)+len(s.Images)+len(s.Volumes)+len(s.Networks) == 0
}

// moment returns the moment that the mirror shows: now if it is up to date, else when it last
// was. Uptimes count until then.
func moment(i *instance.Instance, s *state.State, live bool) time.Time {
	now := time.Now()
	if staleness(i, s, live, now) == "" || live && s.Mirror.Connected {
		return now
	}
	synced, _ := s.Condition(state.MirrorSynced)
	if at := asOf(s, synced); !at.IsZero() {
		return at
	}
	return now
}

// humanDuration formats a duration for the middle of a sentence.
func humanDuration(d time.Duration) string { return strings.ToLower(units.HumanDuration(d)) }

// asOf returns the last moment at which the mirror is known to have been up to date; zero if
// there was none.
func asOf(s *state.State, synced state.Condition) time.Time {
	at := s.Mirror.SyncedAt
	switch {
	case at.IsZero():
		return at
	case s.Mirror.Connected:
		// The supervisor was killed after it last wrote.
		return s.WrittenAt
	case synced.Status == state.False && synced.LastTransitionTime.After(at):
		return synced.LastTransitionTime // when the connection was lost
	}
	return at
}

// noteAge notes how old a mirror is, if it is not up to date and last was another note.
func (a *app) noteAge(last *string, i *instance.Instance, s *state.State, live bool) {
	note := staleness(i, s, live, time.Now())
	if note == *last {
		return
	}
	if *last = note; note == "" {
		note = "the mirror is up to date again"
	}
	a.note("%s", note)
}

// kindWords completes a kind, and then its objects.
func (a *app) kindWords(args []string, _ string) (names []string) {
	if len(args) == 0 {
		for _, k := range objects.Kinds() {
			names = append(names, cobra.CompletionWithDesc(string(k.Kind), strings.Join(append([]string{"also"}, k.Aliases...), " ")))
		}
		return names
	}
	k, err := objects.ParseKind(args[0])
	if err != nil {
		return nil
	}
	return a.objectWords(k, nil, args[1:])
}

// objectWords returns completions for objects of the kind that were not given yet. Instance is
// the instance, if it is an argument.
func (a *app) objectWords(k *objects.Kind, instance, given []string) []string {
	i, err := a.load(instance)
	if err != nil {
		return nil
	}
	s, err := a.readState(i)
	if err != nil {
		return nil
	}
	return k.Complete(s, given)
}

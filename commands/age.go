package commands

import (
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/docker/go-units"

	"github.com/docker-rd/docker-rd/engine"
	"github.com/docker-rd/docker-rd/internal/failure"
	"github.com/docker-rd/docker-rd/mirror/state"
)

// readError makes the error of reading an instance's mirror one with a remedy.
func readError(i *engine.Instance, err error) error {
	switch _, newer := errors.AsType[*state.NewerSchemaError](err); {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return failure.WithHint(failure.Refuse("instance %q has no mirror yet", i.Name), "docker-rd start %s", i.Name)
	case newer:
		return failure.WithHint(failure.WithCode(err, failure.CodeRefused), "install the newer docker-rd that wrote it")
	}
	return failure.WithHint(err, "docker-rd sync %s makes it anew", i.Name)
}

// staleness says why a mirror may differ from the engine and how old it is, "" if it is
// kept up to date. Live is whether the supervisor that wrote it lives.
func staleness(s *state.State, live bool, now time.Time) string {
	synced, _ := s.Condition(state.MirrorSynced)
	switch {
	case live && s.Mirror.Connected && synced.Status == state.True:
		return ""
	case live && s.Mirror.Connected:
		return fmt.Sprintf("the mirror is not complete yet (%s)", synced.Reason)
	}
	why := "no supervisor runs"
	if live {
		why = "the engine is not connected"
	}
	at := asOf(s, synced)
	if at.IsZero() {
		return why + ", and the mirror was never synced"
	}
	return fmt.Sprintf("%s: the mirror is %s old", why, units.HumanDuration(max(0, now.Sub(at))))
}

// asOf returns the last moment at which the mirror is known to have followed the
// engine; zero if it never did.
func asOf(s *state.State, synced state.Condition) time.Time {
	at := s.Mirror.SyncedAt
	switch {
	case at.IsZero():
		return at
	case s.Mirror.Connected:
		// The supervisor was killed, some time after it last wrote.
		return s.WrittenAt
	case synced.Status == state.False && synced.LastTransitionTime.After(at):
		return synced.LastTransitionTime // when the connection was lost
	}
	return at
}

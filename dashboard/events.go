package dashboard

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/docker-rd/docker-rd/board"
	"github.com/docker-rd/docker-rd/mirror/state"
)

// heartbeat is how often a quiet stream sends a comment. The write fails once the browser has
// gone.
const heartbeat = 15 * time.Second

// An update is the data of an event "instance".
type update struct {
	Name       string            `json:"name"`
	Gone       bool              `json:"gone,omitempty"`
	Status     string            `json:"status"`
	Error      string            `json:"error,omitempty"`
	Driver     string            `json:"driver"`
	Context    string            `json:"context"`
	Host       string            `json:"host"`
	Version    string            `json:"version"`
	Conditions []state.Condition `json:"conditions"` // none without a supervisor
	SyncedAt   time.Time         `json:"syncedAt,omitzero"`
	Live       bool              `json:"live"` // the objects are up to date
	// Changes of its objects since the last update, as `docker rd watch` prints them.
	Changes []state.Change `json:"changes"`
}

// events sends all instances, and then their changes.
func (s *Server) events(w http.ResponseWriter, r *http.Request) {
	out := http.NewResponseController(w)
	w.Header().Set("Content-Type", "text/event-stream")
	ctx, cancel := context.WithCancelCause(r.Context())
	defer cancel(nil)
	updates := make(chan update)
	followed := make(chan struct{})
	go func() {
		defer close(followed)
		cancel(s.follow(ctx, updates))
	}()
	defer func() {
		cancel(nil)
		<-followed
	}()
	// Do not wait for the first update: the page shows that it is connected.
	if _, err := fmt.Fprint(w, "retry: 1000\n\n"); err != nil || out.Flush() != nil {
		return
	}
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	for {
		var err error
		select {
		case u := <-updates:
			err = send(w, u)
		case <-beat.C:
			_, err = fmt.Fprint(w, ": still here\n\n")
		case <-ctx.Done():
			return
		}
		if err != nil || out.Flush() != nil {
			return // the browser has gone
		}
	}
}

// follow sends an update for each view of an instance.
func (s *Server) follow(ctx context.Context, updates chan<- update) error {
	last := map[string]*state.State{}
	return s.Follow(ctx, func(v board.View) error {
		u := s.update(v, last[v.Name])
		last[v.Name] = v.State
		select {
		case updates <- u:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
}

// update returns the update for a view. Prev is the state that the page has.
func (s *Server) update(v board.View, prev *state.State) update {
	u := update{Name: v.Name, Gone: v.Gone, Live: v.Live, Changes: []state.Change{}, Conditions: []state.Condition{}}
	if v.Gone {
		return u
	}
	u.Status = s.Status(v)
	if v.Err != nil {
		u.Error = v.Err.Error()
		return u
	}
	u.Driver, u.Context = v.Instance.Settings.Driver, v.Instance.Context()
	if v.State == nil {
		u.Changes = []state.Change{{Type: state.Resync}}
		return u
	}
	u.Host, u.Version, u.SyncedAt = v.State.Instance.Host, v.State.Engine.Version, v.State.Mirror.SyncedAt
	if v.Live {
		u.Conditions = v.State.Conditions
	}
	if u.Changes = state.Changes(prev, v.State); prev == nil {
		u.Changes = append([]state.Change{{Type: state.Resync}}, u.Changes...)
	}
	return u
}

func send(w http.ResponseWriter, u update) error {
	data, err := json.Marshal(u)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "event: instance\ndata: %s\n\n", data)
	return err
}

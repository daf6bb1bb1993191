package dashboard

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/docker-rd/docker-rd/board"
	"github.com/docker-rd/docker-rd/mirror/state"
)

// heartbeat is how often a quiet stream sends a comment. The write fails once the browser has
// gone.
const heartbeat = 15 * time.Second

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

// events sends all instances, and then their changes, until the browser has gone.
func (s *Server) events(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	ctx, cancel := context.WithCancel(r.Context())
	out := http.NewResponseController(w)
	var writing sync.Mutex
	send := func(format string, args ...any) error {
		writing.Lock()
		defer writing.Unlock()
		if _, err := fmt.Fprintf(w, format, args...); err != nil {
			return err
		}
		return out.Flush()
	}
	var beating sync.WaitGroup
	defer beating.Wait()
	defer cancel()
	beating.Go(func() {
		beat := time.NewTicker(heartbeat)
		defer beat.Stop()
		for {
			select {
			case <-beat.C:
				if send(": still here\n\n") != nil {
					cancel()
				}
			case <-ctx.Done():
				return
			}
		}
	})
	// Do not wait for the first update: the page shows that it is connected.
	if send("retry: 1000\n\n") != nil {
		return
	}
	last := map[string]*state.State{}
	_ = s.Follow(ctx, func(v board.View) error {
		data, err := json.Marshal(s.update(v, last[v.Name]))
		if err != nil {
			return err
		}
		last[v.Name] = v.State
		return send("event: instance\ndata: %s\n\n", data)
	})
}

// update returns the update for a view. Prev is the state that the page has.
func (s *Server) update(v board.View, prev *state.State) update {
	u := update{Name: v.Name, Gone: v.Gone, Live: v.UpToDate(), Changes: []state.Change{}, Conditions: []state.Condition{}}
	if v.Gone {
		return u
	}
	u.Status = v.Status()
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

package fakeengine

import (
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/moby/moby/api/types/events"
)

const (
	// replayed is how many events moby keeps for late subscribers.
	replayed = 256
	// A listener that is backlog events behind and has taken none for the time of
	// slow is skipped, as in moby.
	backlog = 1024
	slow    = 100 * time.Millisecond
)

// bus is moby's publisher of events.
type bus struct {
	recent  []events.Message
	streams map[*stream]bool
	held    *events.Message // for Reorder
}

// stream is one listener. Unlike moby, the engine never waits for it: it would hold
// up the test.
type stream struct {
	end   chan struct{}
	ready chan struct{} // holds a value while there are events

	mu     sync.Mutex
	events []any     // what to encode, or text to send as it is
	taken  time.Time // when events were last taken
}

func (s *stream) put(m any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.events) >= backlog && time.Since(s.taken) > slow {
		return // without a word
	}
	s.events = append(s.events, m)
	select {
	case s.ready <- struct{}{}:
	default:
	}
}

func (s *stream) take() []any {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.events
	s.events, s.taken = nil, time.Now()
	return out
}

// Emit publishes an event for an object of the type.
func (e *Engine) Emit(typ events.Type, action events.Action, id string, attributes map[string]string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.emit(typ, action, id, attributes)
}

func (e *Engine) emit(typ events.Type, action events.Action, id string, attributes map[string]string) {
	now := e.now()
	m := events.Message{
		Type: typ, Action: action, Scope: "local", Time: now.Unix(), TimeNano: now.UnixNano(),
		Actor: events.Actor{ID: id, Attributes: attributes},
	}
	if e.faults.Drop != nil && e.faults.Drop(m) {
		return
	}
	out := []events.Message{m}
	switch {
	case e.faults.Reorder && e.bus.held == nil:
		e.bus.held = &m
		return
	case e.bus.held != nil:
		out = append(out, *e.bus.held)
		e.bus.held = nil
	}
	for _, m := range out {
		e.publish(m)
		if e.faults.Repeat {
			e.publish(m)
		}
	}
}

func (e *Engine) publish(m events.Message) {
	e.bus.recent = append(e.bus.recent, m)
	if len(e.bus.recent) > 2*replayed {
		e.bus.recent = append([]events.Message(nil), e.bus.recent[len(e.bus.recent)-replayed:]...)
	}
	for s := range e.bus.streams {
		s.put(m)
	}
}

// EmitText sends a text to all event streams, as it is and at once: nothing says that it
// is an event.
func (e *Engine) EmitText(text string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for s := range e.bus.streams {
		s.put(text)
	}
}

// Flush publishes an event that Reorder holds back.
func (e *Engine) Flush() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.bus.held != nil {
		m := *e.bus.held
		e.bus.held = nil
		e.publish(m)
	}
}

// EndStreams ends all event streams, gracefully: what the client sees is an end of
// file, not an error.
func (e *Engine) EndStreams() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for s := range e.bus.streams {
		close(s.end)
		delete(e.bus.streams, s)
	}
}

// Streams returns how many event streams are subscribed.
func (e *Engine) Streams() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.bus.streams)
}

func (e *Engine) subscribe(since time.Time) (*stream, []events.Message) {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := &stream{end: make(chan struct{}), ready: make(chan struct{}, 1), taken: time.Now()}
	if e.bus.streams == nil {
		e.bus.streams = map[*stream]bool{}
	}
	e.bus.streams[s] = true
	recent := e.bus.recent
	if len(recent) > replayed {
		recent = recent[len(recent)-replayed:]
	}
	var replay []events.Message
	if !since.IsZero() {
		for _, m := range recent {
			if m.TimeNano >= since.UnixNano() {
				replay = append(replay, m)
			}
		}
	}
	return s, replay
}

func (e *Engine) serveEvents(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	flusher := w.(http.Flusher)
	flusher.Flush() // before the subscription, as moby does
	e.mu.Lock()
	delay := e.faults.SubscribeDelay
	e.mu.Unlock()
	if !e.wait(r.Context(), delay) {
		return
	}
	s, replay := e.subscribe(parseSince(r.URL.Query().Get("since")))
	var end <-chan time.Time
	if until := parseSince(r.URL.Query().Get("until")); !until.IsZero() {
		end = time.After(time.Until(until.Add(-e.clockOffset())))
	}
	defer func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		delete(e.bus.streams, s)
	}()
	enc := json.NewEncoder(w)
	for _, m := range replay {
		_ = enc.Encode(m)
	}
	flusher.Flush()
	for {
		select {
		case <-s.ready:
			if !e.wait(r.Context(), e.eventDelay()) {
				return
			}
			for _, m := range s.take() {
				var err error
				if text, ok := m.(string); ok {
					_, err = io.WriteString(w, text)
					flusher.Flush()
				} else {
					err = enc.Encode(m)
				}
				if err != nil {
					return
				}
			}
			flusher.Flush()
		case <-s.end:
			return
		case <-end:
			return
		case <-r.Context().Done():
			return
		}
	}
}

func (e *Engine) eventDelay() time.Duration {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.faults.EventDelay
}

func (e *Engine) clockOffset() time.Duration {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.facts.ClockOffset
}

// parseSince reads the "seconds.nanoseconds" of the events call.
func parseSince(s string) time.Time {
	sec, nsec, _ := strings.Cut(s, ".")
	n, err := strconv.ParseInt(sec, 10, 64)
	if err != nil {
		return time.Time{}
	}
	f, _ := strconv.ParseInt((nsec + "000000000")[:9], 10, 64)
	return time.Unix(n, f)
}

package mirror

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/client"
	"github.com/moby/moby/client/pkg/versions"

	"github.com/docker-rd/docker-rd/internal/endpoint"
	"github.com/docker-rd/docker-rd/mirror/state"
)

// replayed is the number of events that moby remembers.
const replayed = 256

// Moby is an engine that speaks Docker's API. Its transport should keep as many idle connections
// as inspections run at once, or a sync spends its time on connecting.
type Moby struct {
	*endpoint.Client

	rootless bool // whatever it says itself

	// Set by facts.
	dialect dialect
	clock   engineClock

	mu      sync.Mutex
	last    int64 // the time of the latest event, on the engine's clock
	unknown bool  // the clock has jumped, so clock is wrong
	// checks are the containers with a health check, and whether its last result was bad.
	checks map[string]bool
}

// Ping implements [Engine]: anything else than a Docker engine is an error, and so is one whose API
// is older than docker's client can use.
func (m *Moby) Ping(ctx context.Context) error {
	about, err := m.About(ctx)
	if err == nil && versions.LessThan(about.APIVersion, client.MinAPIVersion) {
		err = fmt.Errorf("the engine is too old: its API has version %s, and the oldest that works is %s", about.APIVersion, client.MinAPIVersion)
	}
	return err
}

// NetworkName returns the name that a network is inspected by. Docker's client does not take an
// inspection with the gateway "<nil>", as podman's have of internal networks.
func (m *Moby) NetworkName(ctx context.Context, id string) (string, error) {
	var answer listedNetwork
	err := get(ctx, m.Client, "/networks/"+id, nil, &answer)
	return answer.Name, err
}

func (*Moby) replays() bool { return true }

func (m *Moby) resources() []*resource {
	cli, all := m.Client, url.Values{"all": {"1"}}
	return []*resource{
		{
			kind:    state.Containers,
			list:    listOf[listedContainer](cli, "/containers/json", all, containers),
			inspect: m.inspectContainer,
			details: true,
		},
		{
			kind: state.Images,
			// All: an untagged image with children is there too, and events speak of it.
			list:     listOf[listedImage](cli, "/images/json", all, images),
			inspect:  m.inspectImage,
			listsAll: true,
		},
		{
			kind:    state.Volumes,
			list:    listVolumes(cli),
			inspect: oneOf[volume](cli, "/volumes/%s", volumes),
		},
		{
			kind:     state.Networks,
			list:     listOf[listedNetwork](cli, "/networks", nil, networks),
			listsAll: true,
		},
		{
			kind:     state.Namespaces,
			list:     listedNamespace(namespace),
			listsAll: true,
		},
	}
}

// inspectContainer inspects a container, and remembers the result of its health check.
func (m *Moby) inspectContainer(ctx context.Context, id string) (any, error) {
	object, err := oneOf[inspectedContainer](m.Client, "/containers/%s/json", containers)(ctx, id)
	m.looked(id, object)
	return object, err
}

func (m *Moby) inspectImage(ctx context.Context, id string) (any, error) {
	var a inspectedImage
	err := get(ctx, m.Client, "/images/"+id+"/json", nil, &a)
	return a, err
}

func (m *Moby) looked(id string, object any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if c, ok := object.(state.Container); ok && c.HealthCheck != nil {
		m.checks[id] = c.HealthCheck.FailingStreak > 0 || c.HealthCheck.LastOutput != ""
		return
	}
	delete(m.checks, id)
}

// isCheck reports whether an event may be the end of a health check that changes something: one
// that succeeds after another does not.
func (m *Moby) isCheck(e event) bool {
	if e.Type != events.ContainerEventType || e.Action != events.ActionExecDie {
		return false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	bad, checked := m.checks[e.Actor.ID]
	return checked && (bad || e.Actor.Attributes.ExitCode != "0")
}

// says returns what marks the objects of an event.
func (m *Moby) says(e event) func(*marks) {
	return func(all *marks) {
		all.of(e, m.dialect)
		if m.isCheck(e) {
			all.object(state.Containers, e.Actor.ID, mark{})
		}
	}
}

// sawEvent notes an event of the stream, and whether the clock must have jumped.
func (m *Moby) sawEvent(at int64, jumped bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.last = max(m.last, at)
	m.unknown = m.unknown || jumped
}

// lastEvent returns the latest event's time on the engine's clock, or the session's begin if
// there was none; ok is false if the clock is not known.
func (m *Moby) lastEvent() (at time.Time, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.last == 0 {
		return m.clock.begin, !m.unknown && m.clock.known()
	}
	return time.Unix(0, m.last), !m.unknown && m.clock.known()
}

// catchUp implements [Engine]. The engine remembers its last events: those after the stream's
// latest one are requested, up to now, which it answers at once.
func (m *Moby) catchUp(ctx context.Context, in *intake) (sure bool, err error) {
	since, ok := m.lastEvent()
	if m.dialect.podman || !ok {
		return false, nil
	}
	past, err := m.past(ctx, since, m.clock.now())
	if err != nil || len(past) >= replayed {
		return false, err
	}
	for _, e := range past {
		in.again(m.says(e))
	}
	return true, nil
}

// past returns the engine's events between two times on its clock.
func (m *Moby) past(ctx context.Context, since, until time.Time) (all []event, err error) {
	answer, err := m.Get(ctx, "/events", url.Values{"since": {moment(since)}, "until": {moment(until)}})
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	for d := jsontext.NewDecoder(answer.Body, liberal); ; {
		var e event
		if err := json.UnmarshalDecode(d, &e); errors.Is(err, io.EOF) {
			return all, nil
		} else if err != nil {
			return nil, err
		}
		all = append(all, e)
	}
}

func moment(t time.Time) string { return fmt.Sprintf("%d.%09d", t.Unix(), t.Nanosecond()) }

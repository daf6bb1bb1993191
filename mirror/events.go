package mirror

import (
	"strings"
	"sync"

	"github.com/moby/moby/api/types/events"

	"github.com/docker-rd/docker-rd/mirror/state"
)

// A key names an object of the engine.
type key struct {
	kind state.Kind
	id   string
}

// marks is what events say must be looked at: objects, and kinds to list anew.
type marks struct {
	keys map[key]mark
	// kinds tells whether listing the kind is urgent.
	kinds map[state.Kind]bool
	// podman: the engine is podman.
	podman bool
	// unpacks: the engine keeps images in containerd. The first container of an image,
	// or of one of its platforms, unpacks it: it grows, and no event says so.
	unpacks bool
}

// mark tells more about a marked object.
type mark struct {
	// gone: the engine said that it was destroyed. There may be a new one by now.
	gone bool
}

// containerAttribute names the container that a network's event tells of.
const containerAttribute = "container"

// of adds what an event says. An event carries no state that could be relied on, and
// an unknown one is taken for a change.
func (m *marks) of(e events.Message) {
	action, _, _ := strings.Cut(string(e.Action), ":") // "exec_start: cmd", "health_status: healthy"
	switch e.Type {
	case events.ContainerEventType:
		m.ofContainer(e, events.Action(action))
	case events.ImageEventType:
		switch events.Action(action) {
		case events.ActionPush, events.ActionSave:
		default:
			// A tag that moves is told of the image it moved to alone, and a pull by
			// name: only the list knows which images changed.
			m.kinds[state.Images] = true
		}
	case events.VolumeEventType:
		// Mounting changes a volume too: before moby 23 its time of creation is that of
		// the last change of its root directory.
		if events.Action(action) == events.ActionPrune {
			m.kinds[state.Volumes] = true
			return
		}
		m.object(state.Volumes, e.Actor.ID, action)
	case events.NetworkEventType:
		switch events.Action(action) {
		case events.ActionConnect, events.ActionDisconnect:
			m.object(state.Containers, e.Actor.Attributes[containerAttribute], action)
		default:
			m.object(state.Networks, e.Actor.ID, action)
		}
	case events.BuilderEventType:
		m.kinds[state.Images] = true
	}
}

func (m *marks) ofContainer(e events.Message, action events.Action) {
	switch action {
	case events.ActionAttach, events.ActionDetach, events.ActionTop, events.ActionResize,
		events.ActionCopy, events.ActionArchivePath, events.ActionExtractToDir, events.ActionExport,
		events.ActionExecCreate, events.ActionExecStart, events.ActionExecDie, events.ActionExecDetach,
		"exec", "exec_died": // podman's
		return
	case events.ActionPrune:
		m.kinds[state.Containers] = true
		return
	case events.ActionCommit:
		// An untagged commit has no event of its image.
		m.kinds[state.Images] = true
		return
	case events.ActionCreate:
		if m.unpacks {
			m.later(state.Images)
		}
	case events.ActionDestroy, events.ActionRemove:
		// A legacy build without a tag shows only by the containers of its steps. Few
		// containers are such, so that is not urgent. Podman tells nothing of volumes
		// that go with their container.
		m.later(state.Images)
		if m.podman {
			m.kinds[state.Volumes] = true
		}
	}
	m.object(state.Containers, e.Actor.ID, string(action))
}

// later marks a kind to be listed when there is time.
func (m *marks) later(kind state.Kind) {
	if _, marked := m.kinds[kind]; !marked {
		m.kinds[kind] = false
	}
}

func (m *marks) object(kind state.Kind, id, action string) {
	// Of an image only the list tells all. Of networks the inspection may tell something else:
	// of a swarm's the part on this node, of podman's default network another name.
	if id == "" || kind == state.Images || kind == state.Networks {
		m.kinds[kind] = true
		return
	}
	k := key{kind, id}
	old := m.keys[k]
	m.keys[k] = mark{gone: old.gone || action == "destroy" || action == "remove"}
}

// An intake collects marks from the stream's reader until the pass takes them. The
// reader is never kept waiting: the engine drops, without a word, what a listener
// does not take within 100 ms.
type intake struct {
	ready chan struct{} // holds a value while there are marks

	mu     sync.Mutex
	marks  marks
	events uint64
	late   int  // events that came late
	jumped bool // the engine's clock was set
}

func newIntake() *intake {
	return &intake{ready: make(chan struct{}, 1), marks: newMarks()}
}

func newMarks() marks {
	return marks{keys: map[key]mark{}, kinds: map[state.Kind]bool{}}
}

// add adds an event. It came late, or tells that the engine's clock has jumped.
func (in *intake) add(e events.Message, late, jumped bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.events++
	if late {
		in.late++
	}
	in.jumped = in.jumped || jumped
	in.marks.of(e)
	if len(in.marks.keys)+len(in.marks.kinds) > 0 || late || jumped {
		in.wake()
	}
}

// mark marks an object that no event told of. Of an image only the list tells all.
func (in *intake) mark(kind state.Kind, id string) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.marks.object(kind, id, "")
	in.wake()
}

func (in *intake) wake() {
	select {
	case in.ready <- struct{}{}:
	default:
	}
}

// take returns what has come since it was last called.
func (in *intake) take() (m marks, events uint64, late int, jumped bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	m, in.marks = in.marks, newMarks()
	in.marks.podman, in.marks.unpacks = m.podman, m.unpacks
	events, in.events = in.events, 0
	late, in.late = in.late, 0
	jumped, in.jumped = in.jumped, false
	return m, events, late, jumped
}

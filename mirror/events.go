package mirror

import (
	"cmp"
	"strings"
	"sync"
	"time"

	"github.com/moby/moby/api/types/events"

	"github.com/docker-rd/docker-rd/mirror/state"
)

// An event holds the fields of an engine's event that matter here.
type event struct {
	Type   events.Type
	Action events.Action
	Actor  struct {
		ID         string
		Attributes struct {
			Name      string `json:"name"`
			Container string `json:"container"` // that an event of a network or a volume is about
			ExitCode  string `json:"exitCode"`  // of what has ended in a container
		}
	}
	TimeNano int64 `json:"timeNano"`
}

// marks is the dirty set: objects to inspect and kinds to list again.
type marks struct {
	keys map[key]mark
	// kinds maps each dirty kind to whether listing it is urgent.
	kinds map[state.Kind]bool
	// events counts all events, late the late ones. Jumped: the engine's clock was set.
	events uint64
	late   int
	jumped bool
}

// mark is what an event says about an object.
type mark struct {
	// gone: it was destroyed. There may be a new one of that name.
	gone bool
	name string // of a container that is gone
}

func newMarks() marks {
	return marks{keys: map[key]mark{}, kinds: map[state.Kind]bool{}}
}

// A dialect describes how an engine's events differ from moby's with graph drivers.
type dialect struct {
	podman bool
	// quietNetworks: there are no events of networks, as of podman's before version 5.
	quietNetworks bool
	// unpacks: the image store is containerd's. The first container of an image, or of one of
	// its platforms, unpacks it: its size grows without an event.
	unpacks bool
}

// of marks what an event may have changed. Events carry no reliable state, and an unknown
// one counts as a change.
func (m *marks) of(e event, d dialect) {
	action, _, _ := strings.Cut(string(e.Action), ":") // "exec_start: cmd", "health_status: healthy"
	switch e.Type {
	case events.ContainerEventType:
		m.ofContainer(e, events.Action(action), d)
	case events.ImageEventType:
		// A moved tag names only its new image, a pull only a tag, and a push adds a digest: only
		// the list shows which images changed.
		if events.Action(action) != events.ActionSave {
			m.kinds[state.Images] = true
		}
	case events.VolumeEventType:
		// Mounting changes a volume too: before moby 23, createdAt is the mtime of its root.
		if events.Action(action) == events.ActionPrune {
			m.kinds[state.Volumes] = true
			return
		}
		m.object(state.Volumes, e.Actor.ID, mark{gone: isEnd(events.Action(action))})
		// A failed start may show only in the volumes that it releases.
		if id := e.Actor.Attributes.Container; id != "" {
			m.object(state.Containers, id, mark{})
		}
	case events.NetworkEventType:
		switch events.Action(action) {
		case events.ActionConnect, events.ActionDisconnect:
			m.object(state.Containers, e.Actor.Attributes.Container, mark{})
		default:
			m.object(state.Networks, e.Actor.ID, mark{})
		}
	case events.BuilderEventType:
		m.kinds[state.Images] = true
	}
}

func (m *marks) ofContainer(e event, action events.Action, d dialect) {
	made := mark{}
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
		if d.unpacks {
			m.imagesLater()
		}
	case events.ActionDestroy, events.ActionRemove:
		made = mark{gone: true, name: e.Actor.Attributes.Name}
		// A legacy build without a tag shows only in the containers of its steps: rare, so not
		// urgent. Podman has no event for a volume that is removed with its container.
		m.imagesLater()
		if d.podman {
			m.kinds[state.Volumes] = true
		}
	}
	m.object(state.Containers, e.Actor.ID, made)
}

func isEnd(action events.Action) bool {
	return action == events.ActionDestroy || action == events.ActionRemove
}

// imagesLater marks images as dirty, not urgently.
func (m *marks) imagesLater() {
	if _, marked := m.kinds[state.Images]; !marked {
		m.kinds[state.Images] = false
	}
}

// object marks an object as dirty, or its kind if it is not known which.
func (m *marks) object(kind state.Kind, id string, with mark) {
	if id == "" {
		m.kinds[kind] = true
		return
	}
	k := key{kind, id}
	old := m.keys[k]
	m.keys[k] = mark{gone: old.gone || with.gone, name: cmp.Or(with.name, old.name)}
}

// An intake collects marks from the stream's reader until the session takes them. The reader
// never blocks: the engine silently drops what a listener does not read within 100 ms.
type intake struct {
	ready chan struct{} // holds a value while there are marks

	mu      sync.Mutex
	marks   marks
	heardAt time.Time // when the engine last said anything
}

func newIntake() *intake {
	return &intake{ready: make(chan struct{}, 1), marks: newMarks(), heardAt: time.Now()}
}

// add adds what an event says. It came late, or says that the engine's clock has jumped.
func (in *intake) add(says func(*marks), late, jumped bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.heardAt = time.Now()
	in.marks.events++
	if late {
		in.marks.late++
	}
	in.marks.jumped = in.marks.jumped || jumped
	says(&in.marks)
	if len(in.marks.keys)+len(in.marks.kinds) > 0 || late || jumped {
		signal(in.ready)
	}
}

// again adds the marks of an event that comes through the stream too, where it is counted.
func (in *intake) again(says func(*marks)) {
	in.mu.Lock()
	defer in.mu.Unlock()
	says(&in.marks)
}

// mark marks an object as dirty without an event.
func (in *intake) mark(kind state.Kind, id string) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.marks.object(kind, id, mark{})
	signal(in.ready)
}

// heard notes a sign of life.
func (in *intake) heard() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.heardAt = time.Now()
}

func (in *intake) lastHeard() time.Time {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.heardAt
}

func (in *intake) take() (m marks) {
	in.mu.Lock()
	defer in.mu.Unlock()
	m, in.marks = in.marks, newMarks()
	return m
}

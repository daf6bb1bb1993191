package mirror

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/docker-rd/docker-rd/lock"
	"github.com/docker-rd/docker-rd/mirror/state"
)

const (
	// maxDeleted bounds the list of tombstones. Followers that are further behind start over.
	maxDeleted = 1024
	// Writing takes 1/writeShare of the time if the machine is idle, and so at most a tenth of it
	// if writes also wait for a processor.
	writeShare = 15
	// minPause and maxPause bound the time between two writes: each follower reads the whole
	// file after each write, and no change waits for longer than a second.
	minPause = 10 * time.Millisecond
	maxPause = 800 * time.Millisecond
	// retryDelay is the wait before a failed write is repeated.
	retryDelay = 500 * time.Millisecond
)

// A Store holds the state of an instance and is the only writer of its state file. It belongs
// to one goroutine. Set, Apply and Clear change it in memory; Flush writes the file.
type Store struct {
	file     *file
	lockPath string
	log      *slog.Logger
	now      func() time.Time

	head    state.Head
	deleted []state.Deleted
	since   uint64 // DeletedSince

	containers table[state.Container]
	images     table[state.Image]
	volumes    table[state.Volume]
	networks   table[state.Network]
	namespaces table[state.Namespace]
	tables     map[state.Kind]objects

	dirty     bool
	urgent    bool          // others may be waiting for the change
	failed    bool          // the last write failed
	lastWrite time.Time     // when the last write ended
	cost      time.Duration // what a write takes
}

// OpenStore takes over the state file at path, or begins a new state if there is none. A file
// that is torn, of a later format or of another instance is kept as path + ".old". Nothing is
// written before Flush, which takes the lock at lockPath.
func OpenStore(path, lockPath string, inst state.Instance, log *slog.Logger) (*Store, error) {
	s := &Store{
		file: newFile(path), lockPath: lockPath, log: log, now: time.Now,
		containers: newTable(containers), images: newTable(images), volumes: newTable(volumes),
		networks: newTable(networks), namespaces: newTable(namespaces),
	}
	s.tables = map[state.Kind]objects{
		state.Containers: &s.containers, state.Images: &s.images, state.Volumes: &s.volumes,
		state.Networks: &s.networks, state.Namespaces: &s.namespaces,
	}
	s.head = state.Head{SchemaVersion: state.SchemaVersion, Instance: inst, Conditions: []state.Condition{}}

	old, err := state.Read(path)
	if err == nil && old.Instance.UID != inst.UID {
		err = fmt.Errorf("state file %q is of instance %q, not %q", path, old.Instance.UID, inst.UID)
	} else if err == nil {
		return s, s.load(old)
	}
	if errors.Is(err, fs.ErrPermission) {
		return nil, err
	}
	// The time is greater than any revision of an earlier file, of this instance or of an
	// earlier one of its name: there are never that many writes. Their followers start over.
	s.head.Revision = max(uint64(s.now().UnixMicro()), s.file.lastRevision())
	s.since = s.next()
	s.touch()
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	log.Warn("state file is made anew from the engine", "path", path, "kept", path+".old", "error", err)
	return s, s.file.setAside()
}

// load takes over a state that was read. The instance may have changed since.
func (s *Store) load(old *state.State) error {
	inst := s.head.Instance
	s.head = old.Head
	s.head.SchemaVersion, s.head.Instance = state.SchemaVersion, inst
	s.head.Conditions = append([]state.Condition{}, old.Conditions...)
	s.head.Mirror.Resyncs, s.head.Mirror.Events = 0, 0 // they begin with this process
	s.deleted, s.since = old.Deleted, old.DeletedSince
	if inst != old.Instance {
		s.touch()
	}
	s.file.takeOver()
	for id, c := range old.Containers {
		if c.Action != nil { // who was at it is gone
			c.Action, c.Revision = nil, s.next()
			old.Containers[id] = c
			s.touch()
		}
	}
	return errors.Join(
		s.containers.load(old.Containers),
		s.images.load(old.Images),
		s.volumes.load(old.Volumes),
		s.networks.load(old.Networks),
		s.namespaces.load(old.Namespaces),
	)
}

// touch marks the state as changed.
func (s *Store) touch() { s.dirty = true }

func set[T comparable](s *Store, field *T, value T) {
	if *field != value {
		*field = value
		s.touch()
	}
}

// setCopy sets a field of the head to a copy of what value points to, or to nil.
func setCopy[T comparable](s *Store, field **T, value *T) {
	switch old := *field; {
	case value == nil || old == nil:
		if value == old {
			return
		}
	case *value == *old:
		return
	}
	if value != nil {
		value = new(*value)
	}
	*field = value
	s.touch()
}

// SetSupervisor sets the process that keeps the state up to date; nil for none.
func (s *Store) SetSupervisor(sup *state.Supervisor) {
	setCopy(s, &s.head.Supervisor, sup)
}

// SetHost sets how the engine is reached.
func (s *Store) SetHost(host string) {
	inst := s.head.Instance
	inst.Host = host
	set(s, &s.head.Instance, inst)
}

// SetLastFailure sets why the last start or engine failed; nil if it did not.
func (s *Store) SetLastFailure(f *state.Failure) {
	if f != nil {
		f = new(*f) // whole, whatever fields it gets
		f.Time = f.Time.UTC()
	}
	setCopy(s, &s.head.LastFailure, f)
}

// Engine returns what is known of the engine.
func (s *Store) Engine() state.Engine { return s.head.Engine }

// SetEngineProcess sets the engine's process: 0 and the zero time for none of ours.
func (s *Store) SetEngineProcess(pid int, startedAt time.Time) {
	e := s.head.Engine
	e.PID, e.StartedAt = pid, startedAt.UTC()
	set(s, &s.head.Engine, e)
}

// SetCondition sets the condition of the type. LastTransitionTime changes only with the status.
func (s *Store) SetCondition(typ string, status state.Status, reason state.Reason, message string) {
	c := state.Condition{Type: typ, Status: status, Reason: reason, Message: message}
	i := slices.IndexFunc(s.head.Conditions, func(c state.Condition) bool { return c.Type == typ })
	if i < 0 {
		c.LastTransitionTime = s.now().UTC()
		s.head.Conditions = append(s.head.Conditions, c)
		s.touch()
		return
	}
	c.LastTransitionTime = s.head.Conditions[i].LastTransitionTime
	if s.head.Conditions[i].Status != status {
		c.LastTransitionTime = s.now().UTC()
	}
	s.urgent = s.urgent || s.head.Conditions[i].Reason != reason
	set(s, &s.head.Conditions[i], c)
}

// Apply applies an update. It returns the kinds of the objects that have changed, come or gone.
func (s *Store) Apply(u Update) (changed []state.Kind) {
	for _, c := range u.Changes {
		if s.change(c) {
			changed = append(changed, c.Kind)
		}
	}
	if u.Engine != nil {
		e := *u.Engine
		e.PID, e.StartedAt = s.head.Engine.PID, s.head.Engine.StartedAt
		set(s, &s.head.Engine, e)
	}
	if y := u.Sync; y != nil {
		m := s.head.Mirror
		m.Connected, m.Resyncs = y.Connected, y.Resyncs
		if !y.SyncedAt.IsZero() { // else it stays as it was
			m.SyncedAt = y.SyncedAt.UTC()
		}
		set(s, &s.head.Mirror, m)
		s.SetCondition(state.MirrorSynced, y.Status, y.Reason, y.Message)
	}
	// The count alone is not worth a write: each health check would cause one.
	s.head.Mirror.Events = max(s.head.Mirror.Events, u.Events)
	return changed
}

// change makes a change, and reports whether anything is different now.
func (s *Store) change(c Change) bool {
	t := s.tables[c.Kind]
	if t == nil {
		s.log.Error("change of an unknown kind", "kind", c.Kind)
		return false
	}
	changed, gone, err := t.apply(c, s.next())
	if err != nil {
		s.log.Error("change can't be made", "kind", c.Kind, "error", err)
	}
	if changed {
		s.touch()
	}
	for _, g := range gone {
		s.bury(c.Kind, g)
	}
	for _, g := range c.Gone {
		if g.Name != "" && !s.buried(c.Kind, g.Key) {
			s.bury(c.Kind, g)
		}
	}
	return changed
}

// next returns the revision of the next write.
func (s *Store) next() uint64 { return s.head.Revision + 1 }

// bury adds a tombstone.
func (s *Store) bury(kind state.Kind, g Gone) {
	s.deleted = append(s.deleted, state.Deleted{Kind: kind, ID: g.Key, Name: g.Name, Revision: s.next(), DeletedAt: s.now().UTC()})
	if over := len(s.deleted) - maxDeleted; over > 0 {
		s.since = s.deleted[over-1].Revision
		s.deleted = slices.Clone(s.deleted[over:])
	}
	s.touch()
}

func (s *Store) buried(kind state.Kind, key string) bool {
	return slices.ContainsFunc(s.deleted, func(d state.Deleted) bool { return d.Kind == kind && d.ID == key })
}

// Disconnect notes that the engine is not connected. The objects stay.
func (s *Store) Disconnect(message string) {
	m := s.head.Mirror
	m.Connected = false
	set(s, &s.head.Mirror, m)
	s.SetCondition(state.MirrorSynced, state.False, state.ReasonDisconnected, message)
}

// Clear removes all objects. Their tombstones have no names: the engine has not removed them.
func (s *Store) Clear() {
	for _, kind := range state.Kinds() {
		_, gone, _ := s.tables[kind].apply(Change{Replace: true}, s.next())
		for _, g := range gone {
			s.bury(kind, Gone{Key: g.Key})
		}
	}
}

// Hurry makes the next write immediate: others wait for it.
func (s *Store) Hurry() { s.urgent = s.urgent || s.dirty }

// NextFlush returns whether there is something to write, and how long to wait before: so that
// writing takes at most a tenth of the time, but no longer than a second. A condition with a
// new reason is written at once.
func (s *Store) NextFlush() (wait time.Duration, dirty bool) {
	pause := min(max((writeShare-1)*s.cost, minPause), maxPause-s.cost)
	switch {
	case !s.dirty:
		return 0, false
	case s.failed:
		pause = retryDelay
	case s.urgent:
		return 0, true
	}
	return max(0, s.lastWrite.Add(pause).Sub(s.now())), true
}

// Flush writes the state if it has changed. It waits for the lock until ctx ends. After a
// failure the file is as before; a later Flush writes the state.
func (s *Store) Flush(ctx context.Context) error {
	if !s.dirty {
		return nil
	}
	release, err := lock.Acquire(ctx, s.lockPath)
	begin := s.now()
	if err == nil {
		err = s.write()
		release()
	}
	s.lastWrite = s.now()
	s.failed = err != nil
	if err != nil {
		return fmt.Errorf("write state file: %w", err)
	}
	s.spent(s.lastWrite.Sub(begin))
	s.dirty, s.urgent = false, false
	return nil
}

// spent takes in how long a write took. On a busy machine most writes also wait for a processor, so
// the shortest of the last ones counts.
func (s *Store) spent(d time.Duration) {
	if s.cost == 0 {
		s.cost = d
	}
	s.cost = min(d, s.cost+s.cost/4)
}

// Check compares the file with what was written last. If somebody has removed or changed it,
// the next Flush writes it again.
func (s *Store) Check() {
	if s.file.written == nil || s.file.intact() {
		return
	}
	s.log.Warn("state file is written anew: somebody has changed it", "path", s.file.path)
	s.touch()
}

// write writes the file under the lock.
func (s *Store) write() error {
	s.catchUp()
	h := s.head
	h.Revision, h.WrittenAt = s.next(), s.now().UTC()
	if err := s.file.replace(func(w *bufio.Writer) error { return s.encode(w, h) }); err != nil {
		return err
	}
	s.head = h
	return nil
}

// encode writes the state: the head, a field for each kind, and the tombstones. Its error is not
// the writer's.
func (s *Store) encode(w *bufio.Writer, h state.Head) error {
	begin, err := json.Marshal(h)
	if err != nil {
		return err
	}
	end, err := json.Marshal(s.deleted)
	if err != nil {
		return err
	}
	w.Write(begin[:len(begin)-1])
	for _, kind := range state.Kinds() {
		s.tables[kind].write(w)
	}
	fmt.Fprintf(w, ",\n\"deleted\":%s,\n\"deletedSince\":%d}\n", end, s.since)
	return nil
}

// catchUp raises the revision if another process has written the file since, as a command does
// without a supervisor. What it changed is unknown, so followers by revision start over.
func (s *Store) catchUp() {
	if s.file.intact() {
		return
	}
	if there, err := state.ReadHead(s.file.path); err == nil && there.Revision > s.head.Revision {
		s.head.Revision = there.Revision
		s.deleted, s.since = nil, s.next()
	}
}

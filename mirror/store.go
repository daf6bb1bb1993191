package mirror

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"time"

	"github.com/docker-rd/docker-rd/lock"
	"github.com/docker-rd/docker-rd/mirror/state"
)

const (
	// maxDeleted bounds the list of deleted objects. Who is further behind than this
	// starts over.
	maxDeleted = 1024
	// writeShare is the part of the time that writing may take: one in so many. Up to
	// maxCredit of it can be saved up, for a write that takes longer than most.
	writeShare = 10
	maxCredit  = 100 * time.Millisecond
	// minPause is how long after a write the next may come: every follower reads the
	// whole file after each.
	minPause = 10 * time.Millisecond
	// maxAge is how long a change may wait for its write, also under a storm.
	maxAge = time.Second
	// retryDelay is how soon a failed write is tried again.
	retryDelay = 500 * time.Millisecond
	// writeChunk is how much is handed to the system at once. The whole state is
	// never in memory a second time.
	writeChunk = 256 << 10
)

// A Store holds the state of an instance and is the one writer of its state file.
// It belongs to one goroutine and is not locked. Set, Apply and Clear change it in
// memory; Flush writes what changed.
type Store struct {
	dir, name, lockPath string
	log                 *slog.Logger
	now                 func() time.Time

	head    head
	deleted []state.Deleted
	since   uint64 // DeletedSince
	buried  uint64 // the revision in which these changed

	containers table[state.Container]
	images     table[state.Image]
	volumes    table[state.Volume]
	networks   table[state.Network]
	namespaces table[state.Namespace]
	tables     map[state.Kind]objects

	dirty      bool
	urgent     bool          // somebody may be waiting for what changed
	dirtySince time.Time     // when the oldest change was made that is not written
	lastWrite  time.Time     // when the last write ended
	lastCost   time.Duration // how long it took
	wholeCost  time.Duration // how long the last write of all took
	credit     time.Duration // how long writing might have taken then, negative for too long
	failed     bool          // the last write failed
	// written is the file as we wrote it last, spare the displaced one, where there is
	// one. Layout is the one that sections have now.
	written, spare *version
	layout         *layout
}

// head is the state file without its objects, in the order of state.State.
type head struct {
	SchemaVersion int               `json:"schemaVersion"`
	Revision      uint64            `json:"revision"`
	WrittenAt     time.Time         `json:"writtenAt,omitzero"`
	Supervisor    *state.Supervisor `json:"supervisor,omitempty"`
	Instance      state.Instance    `json:"instance"`
	Engine        state.Engine      `json:"engine"`
	Conditions    []state.Condition `json:"conditions"`
	LastFailure   *state.Failure    `json:"lastFailure,omitempty"`
	Mirror        state.Mirror      `json:"mirror"`
}

// OpenStore takes over the state file at path, or begins a new state where there is
// none. A file that is torn, of a later format or of another instance is kept beside
// the new one as path + ".old". Nothing is written before Flush. Writes are made
// under the lock at lockPath.
func OpenStore(path, lockPath string, inst state.Instance, log *slog.Logger) (*Store, error) {
	s := &Store{
		dir: filepath.Dir(path), name: filepath.Base(path), lockPath: lockPath,
		log: log,
		now: time.Now,
	}
	s.initTables()
	s.head = head{SchemaVersion: state.SchemaVersion, Instance: inst, Conditions: []state.Condition{}}

	old, err := state.Read(path)
	if err == nil && old.Instance.UID != inst.UID {
		err = fmt.Errorf("state file %q is of instance %q, not %q", path, old.Instance.UID, inst.UID)
	} else if err == nil {
		return s, s.load(old)
	}
	if errors.Is(err, fs.ErrPermission) {
		return nil, err
	}
	s.head.Revision = s.firstRevision(path)
	s.since = s.next() // whoever followed before starts over
	s.touch()
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	log.Warn("state file is made anew from the engine", "path", path, "kept", path+".old", "error", err)
	root, err := os.OpenRoot(s.dir)
	if err != nil {
		return nil, fmt.Errorf("open state directory: %w", err)
	}
	defer root.Close()
	if err := root.Rename(s.name, s.name+".old"); err != nil {
		return nil, fmt.Errorf("keep old state file: %w", err)
	}
	return s, nil
}

func (s *Store) initTables() {
	s.containers = table[state.Container]{
		kind: state.Containers, entries: map[string]*entry[state.Container]{},
		key:  func(c *state.Container) string { return c.ID },
		meta: func(c *state.Container) *state.Meta { return &c.Meta },
		keep: keepContainer,
	}
	s.images = table[state.Image]{
		kind: state.Images, entries: map[string]*entry[state.Image]{},
		key:  func(i *state.Image) string { return i.ID },
		meta: func(i *state.Image) *state.Meta { return &i.Meta },
		keep: keepImage,
	}
	s.volumes = table[state.Volume]{
		kind: state.Volumes, entries: map[string]*entry[state.Volume]{},
		key:  func(v *state.Volume) string { return v.Name },
		meta: func(v *state.Volume) *state.Meta { return &v.Meta },
		keep: func(old, new *state.Volume, _ bool) { new.Deletion = old.Deletion },
	}
	s.networks = table[state.Network]{
		kind: state.Networks, entries: map[string]*entry[state.Network]{},
		key:  func(n *state.Network) string { return n.ID },
		meta: func(n *state.Network) *state.Meta { return &n.Meta },
		keep: func(old, new *state.Network, _ bool) { new.Deletion = old.Deletion },
	}
	s.namespaces = table[state.Namespace]{
		kind: state.Namespaces, entries: map[string]*entry[state.Namespace]{},
		key:  func(n *state.Namespace) string { return n.Name },
		meta: func(n *state.Namespace) *state.Meta { return &n.Meta },
		keep: func(_, _ *state.Namespace, _ bool) {},
	}
	s.tables = map[state.Kind]objects{
		state.Containers: &s.containers,
		state.Images:     &s.images,
		state.Volumes:    &s.volumes,
		state.Networks:   &s.networks,
		state.Namespaces: &s.namespaces,
	}
}

// keepContainer carries over requests and outcomes and, to one that was only
// listed, the details of the last inspection. Those of a run are left out where
// the state has changed since: they would be of another run.
func keepContainer(old, new *state.Container, listed bool) {
	new.LastAction, new.Deletion = old.LastAction, old.Deletion
	if !listed {
		return
	}
	new.ImageRef, new.Path, new.Args = old.ImageRef, old.Path, old.Args
	new.RestartPolicy, new.CreatedAt = old.RestartPolicy, old.CreatedAt
	// What both tell of, the inspection tells better, and it is about to come: moby's list
	// does not know where anonymous volumes are, podman's not where ports are published.
	inspected := old.RestartPolicy.Name != "" // no list says that
	if inspected {
		new.Mounts = old.Mounts
	}
	if new.State == old.State {
		if inspected {
			new.Ports, new.Networks = old.Ports, old.Networks
		}
		new.PID, new.ExitCode, new.Error = old.PID, old.ExitCode, old.Error
		new.OOMKilled, new.RestartCount = old.OOMKilled, old.RestartCount
		new.StartedAt, new.FinishedAt = old.StartedAt, old.FinishedAt
		if new.Health == "" {
			new.Health = old.Health
		}
	}
}

// keepImage carries over what was recorded, and to one that was only listed what
// never changes in an image.
func keepImage(old, new *state.Image, listed bool) {
	new.Deletions = old.Deletions
	if listed {
		if new.Architecture == "" && new.OS == "" {
			new.Architecture, new.OS = old.Architecture, old.OS
		}
		if new.CreatedAt.Equal(old.CreatedAt.Truncate(time.Second)) {
			new.CreatedAt = old.CreatedAt
		}
	}
}

// load takes over a state that was read. The instance may have been changed.
func (s *Store) load(old *state.State) error {
	inst := s.head.Instance
	s.head = head{
		SchemaVersion: state.SchemaVersion,
		Revision:      old.Revision,
		WrittenAt:     old.WrittenAt,
		Supervisor:    old.Supervisor,
		Instance:      inst,
		Engine:        old.Engine,
		Conditions:    append([]state.Condition{}, old.Conditions...),
		LastFailure:   old.LastFailure,
		// The counts are this process's, which has none yet.
		Mirror: state.Mirror{Connected: old.Mirror.Connected, SyncedAt: old.Mirror.SyncedAt},
	}
	s.deleted, s.since = old.Deleted, old.DeletedSince
	if inst != old.Instance {
		s.touch()
	}
	if info, err := s.stat(); err == nil {
		s.written = &version{info: info}
	}
	return errors.Join(
		s.containers.load(old.Containers),
		s.images.load(old.Images),
		s.volumes.load(old.Volumes),
		s.networks.load(old.Networks),
		s.namespaces.load(old.Namespaces),
	)
}

var revisionField = regexp.MustCompile(`"revision"\s*:\s*(\d+)`)

// firstRevision returns a revision that is at least that of any state the instance
// had. What a damaged file says of it counts. A missing one says nothing: then it is
// the instance's age in microseconds, because there are never as many writes.
func (s *Store) firstRevision(path string) uint64 {
	var revision uint64
	if created := s.head.Instance.CreatedAt; !created.IsZero() {
		revision = uint64(max(0, s.now().Sub(created).Microseconds()))
	}
	for _, path := range []string{path, path + ".old"} {
		file, err := os.Open(path)
		if err != nil {
			continue
		}
		start, _ := io.ReadAll(io.LimitReader(file, 4096))
		_ = file.Close()
		if m := revisionField.FindSubmatch(start); m != nil {
			if r, err := strconv.ParseUint(string(m[1]), 10, 63); err == nil {
				revision = max(revision, r)
			}
		}
	}
	return revision
}

// touch notes that there is something to write.
func (s *Store) touch() {
	if !s.dirty {
		s.dirty, s.dirtySince = true, s.now()
	}
}

// set sets a field of the head and notes whether that changed it.
func set[T comparable](s *Store, field *T, value T) {
	if *field != value {
		*field = value
		s.touch()
	}
}

// SetSupervisor sets the process that keeps the state; nil for none.
func (s *Store) SetSupervisor(sup *state.Supervisor) {
	old := s.head.Supervisor
	if sup == old || sup != nil && old != nil && *sup == *old {
		return
	}
	if sup != nil {
		c := *sup
		sup = &c
	}
	s.head.Supervisor = sup
	s.touch()
}

// SetHost sets how the engine is reached.
func (s *Store) SetHost(host string) {
	inst := s.head.Instance
	inst.Host = host
	set(s, &s.head.Instance, inst)
}

// SetLastFailure sets why the last start or engine failed; nil after a good one.
func (s *Store) SetLastFailure(f *state.Failure) {
	old := s.head.LastFailure
	if f == old || f != nil && old != nil && *f == *old {
		return
	}
	if f != nil {
		c := *f
		c.Time = utc(c.Time)
		f = &c
	}
	s.head.LastFailure = f
	s.touch()
}

// Engine returns what is known of the engine.
func (s *Store) Engine() state.Engine { return s.head.Engine }

// SetEngineProcess sets the engine's process: 0 and the zero time for none or one
// that is not ours.
func (s *Store) SetEngineProcess(pid int, startedAt time.Time) {
	e := s.head.Engine
	e.PID, e.StartedAt = pid, utc(startedAt)
	set(s, &s.head.Engine, e)
}

// SetCondition sets the condition of the type. Its time of transition changes only
// with the status.
func (s *Store) SetCondition(typ string, status state.Status, reason, message string) {
	c := state.Condition{Type: typ, Status: status, Reason: reason, Message: message}
	i := slices.IndexFunc(s.head.Conditions, func(c state.Condition) bool { return c.Type == typ })
	if i < 0 {
		c.LastTransitionTime = utc(s.now())
		s.head.Conditions = append(s.head.Conditions, c)
		s.touch()
		return
	}
	c.LastTransitionTime = s.head.Conditions[i].LastTransitionTime
	if s.head.Conditions[i].Status != status {
		c.LastTransitionTime = utc(s.now())
	}
	s.urgent = s.urgent || s.head.Conditions[i].Reason != reason
	set(s, &s.head.Conditions[i], c)
}

// Condition returns the condition of the type; ok is false where there is none.
func (s *Store) Condition(typ string) (c state.Condition, ok bool) {
	return (&state.State{Conditions: s.head.Conditions}).Condition(typ)
}

// Apply makes an update.
func (s *Store) Apply(u Update) {
	for _, c := range u.Changes {
		s.change(c)
	}
	if u.Engine != nil {
		e := *u.Engine
		e.PID, e.StartedAt = s.head.Engine.PID, s.head.Engine.StartedAt
		set(s, &s.head.Engine, e)
	}
	if y := u.Sync; y != nil {
		m := s.head.Mirror
		m.Connected, m.Resyncs = y.Connected, y.Resyncs
		if !y.SyncedAt.IsZero() { // else it is as old as it was
			m.SyncedAt = utc(y.SyncedAt)
		}
		set(s, &s.head.Mirror, m)
		s.SetCondition(state.MirrorSynced, y.Status, y.Reason, y.Message)
	}
	// The count alone is not worth a write: it would be one for each health check.
	s.head.Mirror.Events = max(s.head.Mirror.Events, u.Events)
}

func (s *Store) change(c Change) {
	t := s.tables[c.Kind]
	if t == nil {
		s.log.Error("change of an unknown kind", "kind", c.Kind)
		return
	}
	changed, gone, err := t.apply(c, s.next())
	if err != nil {
		s.log.Error("change can't be made", "kind", c.Kind, "error", err)
	}
	if changed {
		s.touch()
	}
	s.bury(c.Kind, gone)
}

// next is the revision of the next write.
func (s *Store) next() uint64 { return s.head.Revision + 1 }

// bury records that objects are gone.
func (s *Store) bury(kind state.Kind, keys []string) {
	for _, key := range keys {
		s.deleted = append(s.deleted, state.Deleted{Kind: kind, ID: key, Revision: s.next()})
		s.buried = s.next()
	}
	if over := len(s.deleted) - maxDeleted; over > 0 {
		s.since = s.deleted[over-1].Revision
		s.deleted = slices.Clone(s.deleted[over:])
	}
}

// Disconnect notes that the engine is not there. The objects stay.
func (s *Store) Disconnect(message string) {
	m := s.head.Mirror
	m.Connected = false
	set(s, &s.head.Mirror, m)
	s.SetCondition(state.MirrorSynced, state.False, state.ReasonDisconnected, message)
}

// Clear removes all objects, and what was recorded on them.
func (s *Store) Clear() {
	for _, kind := range state.Kinds() {
		s.change(Change{Kind: kind, Replace: true})
	}
}

// Has tells whether there is such an object.
func (s *Store) Has(kind state.Kind, key string) bool {
	t := s.tables[kind]
	return t != nil && t.has(key)
}

// Container returns a container as the file has it.
func (s *Store) Container(id string) (c state.Container, ok bool) { return s.containers.get(id) }

// Volume returns a volume as the file has it.
func (s *Store) Volume(name string) (v state.Volume, ok bool) { return s.volumes.get(name) }

// Network returns a network as the file has it.
func (s *Store) Network(id string) (n state.Network, ok bool) { return s.networks.get(id) }

// Forget takes an object out of the state, or only a reference of an image. The source has
// the last word.
func (s *Store) Forget(kind state.Kind, key, reference string) {
	if reference == "" {
		s.change(Change{Kind: kind, Gone: []string{key}})
		return
	}
	without := func(references []string) []string {
		return slices.DeleteFunc(slices.Clone(references), func(r string) bool { return r == reference })
	}
	s.edited(s.images.edit(key, s.next(), func(i *state.Image) {
		i.RepoTags, i.RepoDigests = without(i.RepoTags), without(i.RepoDigests)
	}))
}

// SetLastAction records the outcome of an action on a container, if it is there.
func (s *Store) SetLastAction(id string, a *state.LastAction) {
	s.edited(s.containers.edit(id, s.next(), func(c *state.Container) { c.LastAction = a }))
}

// SetDeletion records a deletion on its object, or on a reference of an image, if that is
// there; nil for none.
func (s *Store) SetDeletion(kind state.Kind, key, reference string, d *state.Deletion) {
	switch kind {
	case state.Containers:
		if c, ok := s.containers.get(key); ok && c.Deletion != d {
			s.edited(s.containers.edit(key, s.next(), func(c *state.Container) { c.Deletion = d }))
		}
	case state.Volumes:
		if v, ok := s.volumes.get(key); ok && v.Deletion != d {
			s.edited(s.volumes.edit(key, s.next(), func(v *state.Volume) { v.Deletion = d }))
		}
	case state.Networks:
		if n, ok := s.networks.get(key); ok && n.Deletion != d {
			s.edited(s.networks.edit(key, s.next(), func(n *state.Network) { n.Deletion = d }))
		}
	case state.Images:
		s.setImageDeletion(key, cmp.Or(reference, key), d)
	}
}

func (s *Store) setImageDeletion(id, ref string, d *state.Deletion) {
	img, ok := s.images.get(id)
	if old, there := img.Deletions[ref]; !ok || there == (d != nil) && (d == nil || old == *d) {
		return
	}
	s.edited(s.images.edit(id, s.next(), func(i *state.Image) {
		// A copy: what is in the table is not changed in place.
		i.Deletions = maps.Clone(i.Deletions)
		if d == nil {
			delete(i.Deletions, ref)
			return
		}
		if i.Deletions == nil {
			i.Deletions = map[string]state.Deletion{}
		}
		i.Deletions[ref] = *d
	}))
}

func (s *Store) edited(changed bool, err error) {
	if err != nil {
		s.log.Error("outcome can't be recorded", "error", err)
	}
	if changed {
		s.touch()
	}
}

// NextFlush returns whether there is something to write, and how long the loop
// should wait with it: so long that writing takes at most a tenth of the time, and never
// so long that the file is older than a second. What a condition comes to is written at
// once.
func (s *Store) NextFlush() (wait time.Duration, dirty bool) {
	if !s.dirty {
		return 0, false
	}
	now := s.now()
	if s.failed {
		return max(0, s.lastWrite.Add(retryDelay).Sub(now)), true
	}
	if s.urgent {
		return 0, true
	}
	pause := s.lastWrite.Add(max(-s.credit*writeShare, minPause)).Sub(now)
	oldest := s.dirtySince.Add(maxAge - s.lastCost).Sub(now)
	return max(0, min(pause, oldest)), true
}

// Flush writes the state if anything changed since the last write. It waits for the
// lock until ctx ends. After a failure the state is as before, and is written by a
// later Flush.
func (s *Store) Flush(ctx context.Context) error {
	if !s.dirty {
		return nil
	}
	release, err := lock.Acquire(ctx, s.lockPath)
	if err == nil {
		err = s.write()
		release()
	}
	s.failed = err != nil
	if err != nil {
		s.lastWrite = s.now()
		return fmt.Errorf("write state file: %w", err)
	}
	s.dirty, s.urgent = false, false
	return nil
}

// Check looks whether the file is still what was written last. If somebody has removed
// or changed it, it is written anew by the next Flush.
func (s *Store) Check() {
	info, err := s.stat()
	if s.written == nil || err == nil && s.written.is(info) {
		return
	}
	s.log.Warn("state file is written anew: somebody has changed it", "path", filepath.Join(s.dir, s.name))
	s.touch()
}

// write writes the file under the lock.
func (s *Store) write() error {
	s.catchUp()
	h := s.head
	h.Revision, h.WrittenAt = s.next(), utc(s.now())

	root, err := os.OpenRoot(s.dir)
	if err != nil {
		return err
	}
	defer root.Close()
	temp := s.temp()
	old := s.spare
	s.spare = nil // until it is whole again
	// For a reader that is about to be done it is cheaper to wait than to write all. For
	// one that is not, that at most doubles the time.
	file, err := openSpare(root, temp, s.wholeCost)
	begin := s.now()
	if err != nil {
		_ = root.Remove(temp) // somebody has it open: what they see stays
		if file, err = root.OpenFile(temp, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o600); err != nil {
			return err
		}
		old = nil
	} else if info, err := file.Stat(); err != nil || !old.is(info) {
		old = nil
	}
	next, err := s.writeVersion(file, h, old)
	if err := errors.Join(err, file.Close()); err != nil {
		_ = root.Remove(temp)
		return err
	}
	if exchange(filepath.Join(s.dir, temp), filepath.Join(s.dir, s.name)) == nil {
		s.spare = s.written
	} else if err := root.Rename(temp, s.name); err != nil {
		_ = root.Remove(temp)
		return err
	}
	s.written = next
	s.head = h
	s.spent(begin, s.now())
	if old == nil {
		s.wholeCost = s.lastCost
	}
	return nil
}

// spent notes how long a write took.
func (s *Store) spent(begin, end time.Time) {
	s.lastCost = end.Sub(begin)
	s.credit = min(s.credit+end.Sub(s.lastWrite)/writeShare, maxCredit) - s.lastCost
	s.lastWrite = end
}

// writeVersion makes file the next version; old is what it is, nil for anything.
func (s *Store) writeVersion(file *os.File, h head, old *version) (*version, error) {
	if err := s.encode(file, h, old); err != nil {
		return nil, err
	}
	// A time of its own: by that it can be told from the version that had its inode.
	now := s.now()
	if s.written != nil && !now.After(s.written.info.ModTime()) {
		now = s.written.info.ModTime().Add(1)
	}
	if err := stamp(filepath.Join(s.dir, s.temp()), now); err != nil {
		return nil, err
	}
	// On all systems the descriptor, not the path: the times of a path that is
	// replaced later are another file's.
	info, err := file.Stat()
	return &version{info: info, layout: s.layout, revision: h.Revision}, err
}

// temp is the name of the next version of the file until it is whole.
func (s *Store) temp() string { return "." + s.name + ".tmp" }

// Close removes what is beside the file to write it faster. What is in memory is not
// written.
func (s *Store) Close() error {
	err := os.Remove(filepath.Join(s.dir, s.temp()))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the spare state file: %w", err)
	}
	return nil
}

// catchUp raises the revision where somebody else has written the file since, as a
// command does when the supervisor is gone. What they changed is not known, so
// whoever follows by revision starts over.
func (s *Store) catchUp() {
	info, err := s.stat()
	if err != nil || s.written != nil && os.SameFile(info, s.written.info) && info.Size() == s.written.info.Size() {
		return
	}
	if there, err := state.ReadHead(filepath.Join(s.dir, s.name)); err == nil && there.Revision > s.head.Revision {
		s.head.Revision = there.Revision
		s.deleted, s.since, s.buried = nil, s.next(), s.next()
	}
}

func (s *Store) stat() (os.FileInfo, error) { return os.Lstat(filepath.Join(s.dir, s.name)) }

// utc is t as it is written: a zero time stays zero.
func utc(t time.Time) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return t.UTC()
}

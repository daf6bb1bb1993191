package state

import (
	"cmp"
	"slices"
)

// ChangeType is what happened to an object.
type ChangeType string

// The types of changes.
const (
	Added    ChangeType = "ADDED"
	Modified ChangeType = "MODIFIED"
	Deletes  ChangeType = "DELETED"
	// Resync says that the changes are not known. All objects follow as Added; others are gone.
	Resync ChangeType = "RESYNC"
)

// A Change is one line of `docker rd watch`. Kind, ID and Object are empty for
// Resync, Object also for Deletes.
type Change struct {
	Revision uint64     `json:"revision"`
	Type     ChangeType `json:"type"`
	Kind     Kind       `json:"kind,omitzero"`
	ID       string     `json:"id,omitzero"`
	Object   any        `json:"object,omitzero"` // a Container, Image, Volume, Network or Namespace
}

// Since returns the changes after the revision, by revision. If they are not known any more, or
// the revision is not one of this file, the first change is a Resync and the others are all
// objects. The revision 0 stands for an empty state: all objects are Added.
func (s *State) Since(revision uint64) []Change {
	if revision > s.Revision || revision != 0 && revision < s.DeletedSince {
		return s.resync()
	}
	var changes []Change
	for kind, objects := range s.all() {
		for id, o := range objects {
			switch m := o.meta(); {
			case m.Revision <= revision:
			case m.AddedRevision > revision:
				changes = append(changes, Change{m.Revision, Added, kind, id, o})
			default:
				changes = append(changes, Change{m.Revision, Modified, kind, id, o})
			}
		}
	}
	if revision > 0 {
		for _, d := range s.Deleted {
			if d.Revision > revision {
				changes = append(changes, Change{Revision: d.Revision, Type: Deletes, Kind: d.Kind, ID: d.ID})
			}
		}
	}
	sortChanges(changes)
	return changes
}

// Changes returns the changes from prev to next, by revision. A nil prev stands for an empty
// state. If the two are not states of one file in this order, the first change is a Resync and
// the others are all objects of next.
func Changes(prev, next *State) []Change {
	if prev == nil {
		return next.Since(0)
	}
	if prev.Instance.UID != next.Instance.UID || prev.Revision > next.Revision {
		return next.resync()
	}
	var changes []Change
	before := map[Kind]map[string]object{}
	for kind, objects := range prev.all() {
		before[kind] = objects
	}
	deleted := map[key]uint64{}
	for _, d := range next.Deleted {
		deleted[key{d.Kind, d.ID}] = d.Revision
	}
	gone := func(kind Kind, id string, latest uint64) {
		// The list of tombstones is bounded; an object without one went before latest.
		rev, ok := deleted[key{kind, id}]
		if !ok || rev > latest {
			rev = latest
		}
		changes = append(changes, Change{Revision: rev, Type: Deletes, Kind: kind, ID: id})
	}
	for kind, objects := range next.all() {
		for id, o := range objects {
			m := o.meta()
			old, ok := before[kind][id]
			switch {
			case !ok:
				changes = append(changes, Change{m.Revision, Added, kind, id, o})
			case m.AddedRevision != old.meta().AddedRevision:
				gone(kind, id, m.AddedRevision)
				changes = append(changes, Change{m.Revision, Added, kind, id, o})
			case m.Revision != old.meta().Revision:
				changes = append(changes, Change{m.Revision, Modified, kind, id, o})
			}
		}
		for id := range before[kind] {
			if _, ok := objects[id]; !ok {
				gone(kind, id, next.Revision)
			}
		}
	}
	sortChanges(changes)
	return changes
}

type key struct {
	kind Kind
	id   string
}

// resync returns a Resync and all objects.
func (s *State) resync() []Change {
	return append([]Change{{Revision: s.Revision, Type: Resync}}, s.Since(0)...)
}

// sortChanges sorts by revision, and deletions of one first: there may be a new object of that
// name.
func sortChanges(changes []Change) {
	kinds := Kinds()
	order := func(c Change) int {
		if c.Type == Deletes {
			return 0
		}
		return 1
	}
	slices.SortFunc(changes, func(a, b Change) int {
		return cmp.Or(
			cmp.Compare(a.Revision, b.Revision),
			cmp.Compare(order(a), order(b)),
			cmp.Compare(slices.Index(kinds, a.Kind), slices.Index(kinds, b.Kind)),
			cmp.Compare(a.ID, b.ID),
		)
	})
}

type object interface{ meta() Meta }

func (m Meta) meta() Meta { return m }

// all yields the objects of each kind, in the order of [Kinds].
func (s *State) all() func(yield func(Kind, map[string]object) bool) {
	return func(yield func(Kind, map[string]object) bool) {
		_ = yield(Containers, objects(s.Containers)) &&
			yield(Images, objects(s.Images)) &&
			yield(Volumes, objects(s.Volumes)) &&
			yield(Networks, objects(s.Networks)) &&
			yield(Namespaces, objects(s.Namespaces))
	}
}

func objects[T object](m map[string]T) map[string]object {
	out := make(map[string]object, len(m))
	for id, o := range m {
		out[id] = o
	}
	return out
}

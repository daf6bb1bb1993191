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
	changes = since(changes, Containers, s.Containers, revision)
	changes = since(changes, Images, s.Images, revision)
	changes = since(changes, Volumes, s.Volumes, revision)
	changes = since(changes, Networks, s.Networks, revision)
	changes = since(changes, Namespaces, s.Namespaces, revision)
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

// Changes returns the changes from prev to next, as [State.Since] does. A nil prev stands for an
// empty state. If the two are not states of one file in this order, the first change is a Resync
// and the others are all objects of next.
func Changes(prev, next *State) []Change {
	switch {
	case prev == nil:
		return next.Since(0)
	case prev.Instance.UID != next.Instance.UID:
		return next.resync()
	}
	return next.Since(prev.Revision)
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

// since appends the objects that were added or changed after the revision.
func since[T interface{ meta() Meta }](changes []Change, kind Kind, objects map[string]T, revision uint64) []Change {
	for id, o := range objects {
		switch m := o.meta(); {
		case m.Revision <= revision:
		case m.AddedRevision > revision:
			changes = append(changes, Change{m.Revision, Added, kind, id, o})
		default:
			changes = append(changes, Change{m.Revision, Modified, kind, id, o})
		}
	}
	return changes
}

func (m Meta) meta() Meta { return m }

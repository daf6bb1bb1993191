package state

import (
	"cmp"
	"slices"
)

// A PendingDeletion is a deletion that was asked for and is not done yet, with its object.
type PendingDeletion struct {
	Kind Kind   `json:"kind"`
	ID   string `json:"id"`   // the object's key
	Name string `json:"name"` // what people call it: of an image the reference that is to be deleted
	Deletion
}

// Deletions returns the deletions that were asked for and are not done yet, by kind and name.
func (s *State) Deletions() (all []PendingDeletion) {
	add := func(kind Kind, id, name string, d *Deletion) {
		if d != nil {
			all = append(all, PendingDeletion{kind, id, name, *d})
		}
	}
	for id, c := range s.Containers {
		add(Containers, id, c.Name, c.Deletion)
	}
	for id, i := range s.Images {
		for reference, d := range i.Deletions {
			add(Images, id, reference, &d)
		}
	}
	for name, v := range s.Volumes {
		add(Volumes, name, name, v.Deletion)
	}
	for id, n := range s.Networks {
		add(Networks, id, n.Name, n.Deletion)
	}
	kinds := Kinds()
	slices.SortFunc(all, func(a, b PendingDeletion) int {
		return cmp.Or(
			cmp.Compare(slices.Index(kinds, a.Kind), slices.Index(kinds, b.Kind)),
			cmp.Compare(a.Name, b.Name),
			cmp.Compare(a.ID, b.ID),
		)
	})
	return all
}

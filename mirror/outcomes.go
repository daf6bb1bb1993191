package mirror

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/docker-rd/docker-rd/mirror/state"
)

// What requests read and record of objects.

// Container returns a container as the file has it.
func (s *Store) Container(id string) (c state.Container, ok bool) { return s.containers.get(id) }

// Publishes reports whether a running container publishes a port, given in the form
// 127.0.0.1:80/tcp, and was started before the moment, unless that is zero.
func (s *Store) Publishes(port string, before time.Time) bool {
	for _, e := range s.containers.entries {
		c := &e.object
		if c.State != state.StateRunning && c.State != state.StatePaused || !before.IsZero() && !c.StartedAt.Before(before) {
			continue
		}
		if slices.ContainsFunc(c.Ports, func(p state.Port) bool {
			ip, err := netip.ParseAddr(p.HostIP)
			return err == nil && netip.AddrPortFrom(ip, p.HostPort).String()+"/"+p.Protocol == port
		}) {
			return true
		}
	}
	return false
}

// Volume returns a volume as the file has it.
func (s *Store) Volume(name string) (v state.Volume, ok bool) { return s.volumes.get(name) }

// Network returns a network as the file has it.
func (s *Store) Network(id string) (n state.Network, ok bool) { return s.networks.get(id) }

// Forget takes an object out of the state, or only a reference of an image. The source has
// the last word.
func (s *Store) Forget(kind state.Kind, key, reference string) {
	if reference == "" {
		s.change(Change{Kind: kind, Gone: []Gone{{Key: key}}})
		return
	}
	without := func(references []string) []string {
		return slices.DeleteFunc(slices.Clone(references), func(r string) bool { return r == reference })
	}
	s.edited(s.images.edit(key, s.next(), func(i *state.Image) {
		i.RepoTags, i.RepoDigests = without(i.RepoTags), without(i.RepoDigests)
	}))
}

// SetAction records the action under way on a container, if it is there; nil for none.
func (s *Store) SetAction(id string, a *state.Action) {
	s.edited(s.containers.edit(id, s.next(), func(c *state.Container) { c.Action = a }))
}

// SetLastAction records the outcome of an action on a container, if it is there. No action is
// under way then.
func (s *Store) SetLastAction(id string, a *state.LastAction) {
	s.edited(s.containers.edit(id, s.next(), func(c *state.Container) { c.Action, c.LastAction = nil, a }))
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

package objects

import (
	"github.com/docker-rd/docker-rd/commands/output"
	"github.com/docker-rd/docker-rd/mirror/state"
)

type volumeRow struct {
	follows
	Availability string
	Driver       string
	Group        string
	Labels       string
	Links        string
	Mountpoint   string
	Name         string
	Scope        string
	Size         string
	Status       string

	volume *state.Volume
}

// Label returns the value of a label.
func (r *volumeRow) Label(name string) string { return r.volume.Labels[name] }

// Project returns what Docker Compose made the volume for.
func (r *volumeRow) Project() string { return project(r.volume.Compose) }

// Volumes returns the kind of volumes.
func Volumes() *Kind {
	return &Kind{
		Kind: state.Volumes, singular: "volume", Aliases: []string{"vol"},
		layout:  output.Layout{Table: "{{.Driver}}\t{{.Name}}", Key: "{{.Name}}", Titles: map[string]string{"Name": "VOLUME NAME"}},
		empty:   &volumeRow{volume: &state.Volume{}},
		Filters: []string{"dangling", "driver", "label", "name"},
		entries: func(s *state.State) (all []entry) {
			for key, o := range s.Volumes {
				all = append(all, entry{key, []string{o.Name}, o.CreatedAt, o.Driver, o.Labels})
			}
			return all
		},
		about: func(s *state.State, key string) []string { return []string{s.Volumes[key].Driver} },
		match: matchVolumes,
		rows: func(v *view, key string) []row {
			vol := v.Volumes[key]
			size := notAvailable
			if vol.Usage != nil {
				size = humanSize(vol.Usage.Size)
			}
			return []row{&volumeRow{
				// Cluster volumes are not mirrored.
				Availability: notAvailable, Group: notAvailable, Links: notAvailable, Size: size, Status: notAvailable,
				follows: follows{Deletion: describeDeletion(vol.Deletion)}, Driver: vol.Driver, Labels: joinLabels(vol.Labels),
				Mountpoint: vol.Mountpoint, Name: vol.Name, Scope: vol.Scope, volume: &vol,
			}}
		},
		find: func(s *state.State, word string) []string {
			found := byKey(s.Volumes, word)
			for key := range s.Volumes {
				// In a containerd the namespace may be left out.
				if namespace, name := splitKey(key); namespace != "" && name == word {
					found = append(found, key)
				}
			}
			return found
		},
	}
}

// volumeKey returns the key of the volume that a container has mounted. In a containerd the
// namespace is a part of it.
func volumeKey(volumes map[string]state.Volume, c *state.Container, m state.Mount) string {
	if key := c.Namespace + "/" + m.Name; volumes[key].Name != "" {
		return key
	}
	return m.Name
}

// matchVolumes compiles the filters of moby's daemon/volume/service.
func matchVolumes(v *view, f filterSet) (func(key string) bool, error) {
	dangling, wanted, err := f.bool("dangling")
	if err != nil {
		return nil, err
	}
	used := map[string]bool{}
	for _, c := range v.Containers {
		for _, m := range c.Mounts {
			used[volumeKey(v.Volumes, &c, m)] = true
		}
	}
	named := f.matching("name")
	return func(key string) bool {
		vol := v.Volumes[key]
		return named(key) && f.is("driver", vol.Driver) && f.labels(vol.Labels) && (!wanted || dangling != used[key])
	}, nil
}

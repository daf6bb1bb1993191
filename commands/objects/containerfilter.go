package objects

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"

	"github.com/docker-rd/docker-rd/mirror/state"
)

// A containerFilter is the filters of moby's daemon/list.go, with their values read.
type containerFilter struct {
	filterSet
	view            *view
	exited          map[int]bool
	publish, expose map[string]bool // as 80/tcp
	before, since   time.Time
	ids, ancestors  map[string]bool // of containers and of images
}

// matchContainers returns what reports whether a container passes the filters.
func matchContainers(v *view, f filterSet) (func(key string) bool, error) {
	m := &containerFilter{
		filterSet: f, view: v, exited: map[int]bool{}, publish: map[string]bool{}, expose: map[string]bool{},
		ids: map[string]bool{}, ancestors: map[string]bool{},
	}
	for name, read := range map[string]func(value string) error{
		"exited":   m.readExited,
		"status":   func(value string) error { return container.ValidateContainerState(container.ContainerState(value)) },
		"health":   func(value string) error { return container.ValidateHealthStatus(container.HealthStatus(value)) },
		"publish":  func(value string) error { return readPorts(value, m.publish) },
		"expose":   func(value string) error { return readPorts(value, m.expose) },
		"before":   m.readBefore,
		"since":    m.readSince,
		"id":       m.readID,
		"ancestor": m.readAncestor,
	} {
		if err := f.each(name, read); err != nil {
			return nil, err
		}
	}
	v.addDescendants(m.ancestors)
	return m.passes, nil
}

func (m *containerFilter) readExited(value string) error {
	code, err := strconv.Atoi(value)
	m.exited[code] = true
	return err
}

func readPorts(value string, into map[string]bool) error {
	r, err := network.ParsePortRange(value)
	if err != nil {
		return err
	}
	for p := range r.All() {
		into[p.String()] = true
	}
	return nil
}

func (m *containerFilter) readBefore(value string) error {
	created, err := m.created(value)
	m.before = earlier(m.before, created)
	return err
}

func (m *containerFilter) readSince(value string) error {
	created, err := m.created(value)
	m.since = later(m.since, created)
	return err
}

// created returns when a container was created.
func (m *containerFilter) created(name string) (time.Time, error) {
	all := m.view.Containers
	found := byName(all, strings.TrimPrefix(name, "/"), func(c state.Container) string { return c.Name })
	if len(found) != 1 {
		return time.Time{}, errors.New("no such container")
	}
	return all[found[0]].CreatedAt, nil
}

func (m *containerFilter) readID(value string) error {
	if found := byID(m.view.Containers, value); len(found) == 1 {
		m.ids[found[0]] = true
	}
	return nil
}

func (m *containerFilter) readAncestor(value string) error {
	if id := m.view.resolve(value); id != "" {
		m.ancestors[id] = true
	}
	return nil
}

func (m *containerFilter) passes(key string) bool {
	c := m.view.Containers[key]
	return (!m.has("id") || m.ids[key]) &&
		(m.matches("name", c.Name) || m.matches("name", "/"+c.Name)) &&
		m.labels(c.Labels) &&
		m.matches("status", c.State) &&
		m.is("health", c.Health) &&
		(!m.has("exited") || m.exited[c.ExitCode] && !isAlive(&c) && !c.StartedAt.IsZero()) &&
		(!m.has("ancestor") || m.ancestors[c.Image]) &&
		(m.before.IsZero() || c.CreatedAt.Before(m.before)) &&
		(m.since.IsZero() || c.CreatedAt.After(m.since)) &&
		m.anyOf("volume", func(value string) bool { return hasMount(&c, value) }) &&
		m.anyOf("network", func(value string) bool { return isAttached(&c, value) }) &&
		(!m.has("publish") && !m.has("expose") || hasPort(&c, m.publish, m.expose))
}

func (v *view) addDescendants(set map[string]bool) {
	children := map[string][]string{}
	for id, i := range v.Images {
		if i.Parent != "" {
			children[i.Parent] = append(children[i.Parent], id)
		}
	}
	var add func(id string)
	add = func(id string) {
		for _, child := range children[id] {
			if !set[child] {
				set[child] = true
				add(child)
			}
		}
	}
	for id := range set {
		add(id)
	}
}

func hasMount(c *state.Container, value string) bool {
	return slices.ContainsFunc(c.Mounts, func(m state.Mount) bool {
		return m.Destination == value || cmp.Or(m.Name, m.Source) == value
	})
}

func isAttached(c *state.Container, value string) bool {
	return slices.ContainsFunc(c.Networks, func(n state.Attachment) bool {
		return n.Name == value || strings.HasPrefix(n.ID, value)
	})
}

func hasPort(c *state.Container, publish, expose map[string]bool) bool {
	return slices.ContainsFunc(c.Ports, func(p state.Port) bool {
		return publish[fmt.Sprintf("%d/%s", p.HostPort, p.Protocol)] || expose[fmt.Sprintf("%d/%s", p.ContainerPort, p.Protocol)]
	})
}

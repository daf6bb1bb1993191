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

// matchContainers compiles the filters of moby's daemon/list.go.
func matchContainers(v *view, f filterSet) (func(key string) bool, error) {
	exited := map[int]bool{}
	publish, expose := map[string]bool{}, map[string]bool{} // as 80/tcp
	ids, ancestors := map[string]bool{}, map[string]bool{}
	created, err := f.period(v.now, func(name string) (time.Time, error) {
		found := Containers().Find(v.State, name)
		if len(found) != 1 {
			return time.Time{}, errors.New("no such container")
		}
		return v.Containers[found[0]].CreatedAt, nil
	})
	err = cmp.Or(err,
		f.each("exited", func(value string) error {
			code, err := strconv.Atoi(value)
			if err != nil {
				return errors.New("not an exit status")
			}
			exited[code] = true
			return nil
		}),
		f.each("status", func(value string) error { return container.ValidateContainerState(container.ContainerState(value)) }),
		f.each("health", func(value string) error { return container.ValidateHealthStatus(container.HealthStatus(value)) }),
		f.each("publish", func(value string) error { return readPorts(value, publish) }),
		f.each("expose", func(value string) error { return readPorts(value, expose) }),
		f.each("id", func(value string) error {
			if found := byID(v.Containers, value); len(found) == 1 {
				ids[found[0]] = true
			}
			return nil
		}),
		f.each("ancestor", func(value string) error {
			// A name may lead to an image in each namespace.
			if found, name := findImages(v.State, v.names(), value); len(found) == 1 || name != "" {
				for _, id := range found {
					ancestors[id] = true
				}
			}
			return nil
		}))
	v.addDescendants(ancestors)
	named := f.matching("name")
	return func(key string) bool {
		c := v.Containers[key]
		return (!f.has("id") || ids[key]) &&
			(named(c.Name) || named("/"+c.Name)) &&
			f.labels(c.Labels) &&
			f.is("status", c.State) &&
			f.is("health", c.Health) &&
			(!f.has("exited") || exited[c.ExitCode] && !isAlive(&c) && !c.StartedAt.IsZero()) &&
			(!f.has("ancestor") || ancestors[c.Image]) &&
			created.has(c.CreatedAt) &&
			f.anyOf("volume", func(value string) bool { return hasMount(&c, value) }) &&
			f.anyOf("network", func(value string) bool { return isAttached(&c, value) }) &&
			(!f.has("publish") && !f.has("expose") || hasPort(&c, publish, expose))
	}, err
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

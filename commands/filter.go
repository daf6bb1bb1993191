package commands

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/distribution/reference"
	"github.com/docker/cli/opts"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"

	"github.com/docker-rd/docker-rd/internal/failure"
	"github.com/docker-rd/docker-rd/mirror/state"
)

// A filterSet is what docker makes of its --filter flags: the values by name.
type filterSet map[string]map[string]bool

// parseFilters returns the filters for a kind. One that docker does not have for it, or
// that the mirror can't answer, is refused.
func parseFilters(k *kind, flag opts.FilterOpt) (filterSet, error) {
	f := filterSet(flag.Value())
	for name := range f {
		switch {
		case slices.Contains(k.filters, name):
		case slices.Contains(k.unanswered, name):
			return nil, failure.WithHint(failure.Refuse("filter %q can't be answered from the mirror", name), "docker can")
		default:
			return nil, failure.WithHint(failure.Refuse("%s have no filter %q", k.Kind, name), "filters are %s", strings.Join(k.filters, ", "))
		}
	}
	return f, nil
}

func (f filterSet) has(name string) bool { return len(f[name]) > 0 }

// is tells whether the value is one of the filter's, or there is no such filter.
func (f filterSet) is(name, value string) bool { return !f.has(name) || f[name][value] }

// matches tells whether the value is one of the filter's or one of them, taken as a
// regular expression, matches a part of it; also if there is no such filter. One that
// is no expression matches nothing else, as in moby.
func (f filterSet) matches(name, value string) bool {
	if f.is(name, value) {
		return true
	}
	for pattern := range f[name] {
		if ok, err := regexp.MatchString(pattern, value); err == nil && ok {
			return true
		}
	}
	return false
}

// labels tells whether all labels of the filter are there, with the value if one is
// given.
func (f filterSet) labels(labels map[string]string) bool {
	for want := range f["label"] {
		key, value, hasValue := strings.Cut(want, "=")
		if got, ok := labels[key]; !ok || hasValue && got != value {
			return false
		}
	}
	return true
}

// bool returns the value of a filter that is true or false, and whether it is given.
func (f filterSet) bool(name string) (value, given bool, err error) {
	if !f.has(name) {
		return false, false, nil
	}
	yes, no := f[name]["true"] || f[name]["1"], f[name]["false"] || f[name]["0"]
	if yes == no {
		return false, false, f.invalid(name, "it can be true or false")
	}
	return yes, true, nil
}

// each calls check with each value of a filter.
func (f filterSet) each(name string, check func(value string) error) error {
	for value := range f[name] {
		if err := check(value); err != nil {
			return failure.Refuse("filter %s=%s: %w", name, value, err)
		}
	}
	return nil
}

func (f filterSet) invalid(name, why string) error {
	var values []string
	for v := range f[name] {
		values = append(values, name+"="+v)
	}
	slices.Sort(values)
	return failure.Refuse("filter %s: %s", strings.Join(values, ", "), why)
}

// anyOf tells whether one of the filter's values satisfies; also if there is none.
func (f filterSet) anyOf(name string, satisfies func(value string) bool) bool {
	if !f.has(name) {
		return true
	}
	for value := range f[name] {
		if satisfies(value) {
			return true
		}
	}
	return false
}

// matchContainers compiles the filters of moby's daemon/list.go.
func matchContainers(v *view, f filterSet) (func(key string) bool, error) {
	exited := map[int]bool{}
	ports := map[string]map[string]bool{"publish": {}, "expose": {}}
	checks := map[string]func(value string) error{
		"exited": func(value string) error {
			code, err := strconv.Atoi(value)
			exited[code] = true
			return err
		},
		"status": func(value string) error { return container.ValidateContainerState(container.ContainerState(value)) },
		"health": func(value string) error { return container.ValidateHealthStatus(container.HealthStatus(value)) },
	}
	for name, set := range ports {
		checks[name] = func(value string) error {
			r, err := network.ParsePortRange(value)
			if err != nil {
				return err
			}
			for p := range r.All() {
				set[p.String()] = true
			}
			return nil
		}
	}
	before, since := time.Time{}, time.Time{}
	container := func(value string) (state.Container, error) {
		found := byName(v.Containers, strings.TrimPrefix(value, "/"), func(c state.Container) string { return c.Name })
		if len(found) != 1 {
			return state.Container{}, fmt.Errorf("no such container")
		}
		return v.Containers[found[0]], nil
	}
	checks["before"] = func(value string) error {
		c, err := container(value)
		before = earlier(before, c.CreatedAt)
		return err
	}
	checks["since"] = func(value string) error {
		c, err := container(value)
		since = later(since, c.CreatedAt)
		return err
	}
	ids := map[string]bool{}
	checks["id"] = func(value string) error {
		if found := byID(v.Containers, value); len(found) == 1 {
			ids[found[0]] = true
		}
		return nil
	}
	for name, check := range checks {
		if err := f.each(name, check); err != nil {
			return nil, err
		}
	}
	ancestors := map[string]bool{}
	for ref := range f["ancestor"] {
		if id := v.resolve(ref); id != "" {
			ancestors[id] = true
		}
	}
	v.addDescendants(ancestors)

	return func(key string) bool {
		c := v.Containers[key]
		alive := isAlive(&c)
		return (!f.has("id") || ids[key]) &&
			(f.matches("name", c.Name) || f.matches("name", "/"+c.Name)) &&
			f.labels(c.Labels) &&
			f.matches("status", c.State) &&
			f.is("health", c.Health) &&
			(!f.has("exited") || exited[c.ExitCode] && !alive && !c.StartedAt.IsZero()) &&
			(!f.has("ancestor") || ancestors[c.Image]) &&
			(before.IsZero() || c.CreatedAt.Before(before)) &&
			(since.IsZero() || c.CreatedAt.After(since)) &&
			f.anyOf("volume", func(value string) bool { return hasMount(&c, value) }) &&
			f.anyOf("network", func(value string) bool { return isAttached(&c, value) }) &&
			(!f.has("publish") && !f.has("expose") || hasPort(&c, ports["publish"], ports["expose"]))
	}, nil
}

func earlier(a, b time.Time) time.Time {
	if a.IsZero() || b.Before(a) {
		return b
	}
	return a
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// isAlive tells whether the container has processes, or will again by itself.
func isAlive(c *state.Container) bool {
	return c.State == state.StateRunning || c.State == state.StatePaused || c.State == state.StateRestarting
}

// addDescendants adds the images that were made from those in the set.
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
		return m.Destination == value || m.Name == value || m.Name == "" && m.Source == value
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

// matchImages compiles the filters of moby's daemon/images/image_list.go. Which rows of
// an image a reference filter leaves, imageRows sees to.
func matchImages(v *view, f filterSet) (func(key string) bool, error) {
	dangling, wanted, err := f.bool("dangling")
	if err != nil {
		return nil, err
	}
	before, since := time.Time{}, time.Time{}
	created := func(value string) (time.Time, error) {
		id := v.resolve(value)
		if id == "" {
			return time.Time{}, fmt.Errorf("no such image")
		}
		return v.Images[id].CreatedAt, nil
	}
	for name, check := range map[string]func(value string) error{
		"before": func(value string) error {
			t, err := created(value)
			before = earlier(before, t)
			return err
		},
		"since": func(value string) error {
			t, err := created(value)
			since = later(since, t)
			return err
		},
		"until": func(value string) error {
			t, err := parseMoment(value, v.now)
			before = earlier(before, t)
			return err
		},
		"reference": func(value string) error {
			_, err := path.Match(value, "")
			return err
		},
	} {
		if err := f.each(name, check); err != nil {
			return nil, err
		}
	}
	parents := v.parents()
	return func(key string) bool {
		i := v.Images[key]
		named := len(i.RepoTags)+len(i.RepoDigests) > 0
		switch {
		case !f.labels(i.Labels),
			!before.IsZero() && !i.CreatedAt.Before(before),
			!since.IsZero() && !i.CreatedAt.After(since),
			wanted && dangling && (len(i.RepoTags) > 0 || parents[key]),
			wanted && !dangling && !named:
			return false
		}
		return !f.has("reference") || slices.ContainsFunc(slices.Concat(i.RepoTags, i.RepoDigests), f.refersTo)
	}, nil
}

// refersTo tells whether a reference matches one of the patterns of the filter
// "reference", in one of the forms in which it can be written.
func (f filterSet) refersTo(ref string) bool {
	named, err := reference.ParseNormalizedNamed(ref)
	if err != nil {
		return !f.has("reference")
	}
	forms := []string{
		reference.FamiliarString(named), reference.FamiliarName(named), reference.TagNameOnly(named).String(), named.Name(),
	}
	return f.anyOf("reference", func(pattern string) bool {
		return slices.ContainsFunc(forms, func(form string) bool {
			ok, err := path.Match(pattern, form)
			return err == nil && ok
		})
	})
}

// parseMoment reads a time as docker's filters take it: one that has passed since, a
// time of day, or seconds since 1970. What has no zone is local.
func parseMoment(value string, now time.Time) (time.Time, error) {
	if d, err := time.ParseDuration(value); err == nil {
		return now.Add(-d), nil
	}
	for _, layout := range []string{
		time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02T15", "2006-01-02Z07:00", "2006-01-02",
	} {
		if t, err := time.ParseInLocation(layout, value, time.Local); err == nil {
			return t, nil
		}
	}
	whole, fraction, _ := strings.Cut(value, ".")
	seconds, err := strconv.ParseInt(whole, 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("not a time")
	}
	nanos := int64(0)
	if fraction != "" {
		if nanos, err = strconv.ParseInt((fraction + "000000000")[:9], 10, 64); err != nil {
			return time.Time{}, fmt.Errorf("not a time")
		}
	}
	return time.Unix(seconds, nanos), nil
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
			used[m.Name] = true
		}
	}
	return func(key string) bool {
		vol := v.Volumes[key]
		return f.matches("name", key) && f.is("driver", vol.Driver) && f.labels(vol.Labels) && (!wanted || dangling != used[key])
	}, nil
}

// predefined are the networks that moby calls so.
var predefined = []string{"bridge", "host", "none", "default"}

// matchNetworks compiles the filters of moby's daemon/network/filter.go.
func matchNetworks(v *view, f filterSet) (func(key string) bool, error) {
	dangling, wanted, err := f.bool("dangling")
	if err != nil {
		return nil, err
	}
	err = f.each("type", func(value string) error {
		if value != "builtin" && value != "custom" {
			return fmt.Errorf("it can be builtin or custom")
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	used := map[string]bool{}
	for _, c := range v.Containers {
		if c.State == state.StateRunning || c.State == state.StatePaused {
			for _, n := range c.Networks {
				used[n.ID] = true
			}
		}
	}
	return func(key string) bool {
		n := v.Networks[key]
		builtin := slices.Contains(predefined, n.Name)
		return f.matches("name", n.Name) && f.matches("id", n.ID) && f.is("driver", n.Driver) && f.is("scope", n.Scope) && f.labels(n.Labels) &&
			(!wanted || dangling != (builtin || used[key])) &&
			f.anyOf("type", func(value string) bool { return (value == "builtin") == builtin })
	}, nil
}

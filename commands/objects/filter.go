package objects

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/docker/cli/opts"

	"github.com/docker-rd/docker-rd/internal/failure"
	"github.com/docker-rd/docker-rd/internal/nearest"
)

// A filterSet holds the values of docker's --filter flags by name.
type filterSet map[string]map[string]bool

// parseFilters returns the filters for a kind. It refuses those that docker does not have for it
// or that the mirror can't answer.
func parseFilters(k *Kind, flag opts.FilterOpt) (filterSet, error) {
	f := filterSet(flag.Value())
	for name := range f {
		switch {
		case slices.Contains(k.Filters, name):
		case slices.Contains(k.unanswered, name):
			return nil, failure.WithHint(failure.Refuse("filter %q can't be answered from the mirror", name), "docker can")
		default:
			return nil, failure.WithHint(failure.Refuse("%s have no filter %q", k.Kind, name),
				"%s", nearest.DidYouMean(nearest.To(name, k.Filters), "", "filters are "+strings.Join(k.Filters, ", ")))
		}
	}
	return f, nil
}

func (f filterSet) has(name string) bool { return len(f[name]) > 0 }

// is reports whether the filter has the value or is not set.
func (f filterSet) is(name, value string) bool { return !f.has(name) || f[name][value] }

// matching returns a function that reports whether the filter is not set, has a value, or has a
// regular expression that matches a part of it. As in moby, an invalid one matches only itself.
func (f filterSet) matching(name string) func(value string) bool {
	var patterns []*regexp.Regexp
	for text := range f[name] {
		if pattern, err := regexp.Compile(text); err == nil {
			patterns = append(patterns, pattern)
		}
	}
	return func(value string) bool {
		return f.is(name, value) || slices.ContainsFunc(patterns, func(p *regexp.Regexp) bool { return p.MatchString(value) })
	}
}

// labels reports whether all labels of the filter exist, with the filter's values if it has any.
func (f filterSet) labels(labels map[string]string) bool {
	for want := range f["label"] {
		key, value, hasValue := strings.Cut(want, "=")
		if got, ok := labels[key]; !ok || hasValue && got != value {
			return false
		}
	}
	return true
}

// bool returns the value of a boolean filter and whether it is set.
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

// anyOf reports whether the filter is not set or one of its values satisfies.
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

// ParseMoment parses a time as docker's filters do: a duration before now, a date or time, or
// seconds since 1970. Without a zone it is local.
func ParseMoment(value string, now time.Time) (time.Time, error) {
	if d, err := time.ParseDuration(value); err == nil {
		return now.Add(-d), nil
	}
	for _, layout := range []string{
		time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02T15:04Z07:00", "2006-01-02T15:04", "2006-01-02T15Z07:00", "2006-01-02T15",
		"2006-01-02Z07:00", "2006-01-02",
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

// A period is when objects must have been made; zero is no limit.
type period struct{ before, since time.Time }

// period returns what the filters before, since and until say, the first two by when the objects were
// made that they name.
func (f filterSet) period(now time.Time, created func(name string) (time.Time, error)) (p period, err error) {
	before := func(t time.Time, err error) error {
		if p.before.IsZero() || t.Before(p.before) {
			p.before = t
		}
		return err
	}
	return p, cmp.Or(
		f.each("before", func(value string) error { return before(created(value)) }),
		f.each("until", func(value string) error { return before(ParseMoment(value, now)) }),
		f.each("since", func(value string) error {
			t, err := created(value)
			if t.After(p.since) {
				p.since = t
			}
			return err
		}))
}

func (p period) has(t time.Time) bool {
	return (p.before.IsZero() || t.Before(p.before)) && (p.since.IsZero() || t.After(p.since))
}

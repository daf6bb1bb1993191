// Package objects lists the objects of a mirror as docker lists an engine's: kinds and their
// names, columns, placeholders, order and filters.
package objects

import (
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/docker/cli/cli/command/formatter"
	"github.com/docker/go-units"

	"github.com/docker-rd/docker-rd/mirror/state"
)

// A row is an object as docker lists it: its fields are docker's placeholders with docker's
// values. Docker's own formatters are slow, since they find fields by reflection on methods; a
// test compares the two.
type row interface {
	what() *follows
	// part identifies one of several rows of an object.
	part() string
}

// follows is the part of a row that describes a change.
type follows struct {
	Event    state.ChangeType `json:",omitempty"` // with --watch
	Deletion string           `json:",omitempty"` // the requested one
}

func (f *follows) what() *follows { return f }
func (*follows) part() string     { return "" }

// notAvailable is what docker prints for an unknown value.
const notAvailable = "N/A"

// A view is a state to be shown. It belongs to one goroutine.
type view struct {
	*state.State
	now    time.Time
	trunc  bool
	digest bool // images show their digests
	// shows reports whether a reference of an image gets a row; nil: all do.
	shows func(id, ref string) bool

	names func() map[string][]string // tags and digests to images
	users func() map[string]int64    // containers by image
	known map[string]string          // results of resolve
}

func newView(s *state.State, o Options, now time.Time) *view {
	return &view{
		State: s, now: now, trunc: !o.NoTrunc, digest: strings.Contains(o.Format, "{{.Digest}}"),
		names: sync.OnceValue(func() map[string][]string { return imageNames(s) }),
		users: sync.OnceValue(func() map[string]int64 { return containersByImage(s) }),
		known: map[string]string{},
	}
}

func (v *view) id(id string) string {
	if v.trunc {
		return ShortID(id)
	}
	return id
}

// ShortID shortens an id as docker does, but not the namespace that may be before it.
func ShortID(id string) string {
	namespace, rest := splitKey(id)
	if namespace == "" {
		return formatter.TruncateID(id)
	}
	return namespace + "/" + formatter.TruncateID(rest)
}

// splitKey returns the namespace of a key, "" if it is an id without one, and the id.
func splitKey(key string) (namespace, id string) {
	if namespace, id, ok := strings.Cut(key, "/"); ok {
		return namespace, id
	}
	return "", key
}

func humanSize(bytes int64) string { return units.HumanSizeWithPrecision(float64(bytes), 3) }

func (v *view) ago(t time.Time) string { return units.HumanDuration(v.now.Sub(t)) + " ago" }

// since is how long ago an image was made, "" if it has no date.
func (v *view) since(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return v.ago(listed(t))
}

// second formats a time as docker does: with the precision of the list call.
func second(t time.Time) string { return listed(t).String() }

// listed is a time with the precision of the list call: seconds.
func listed(t time.Time) time.Time { return time.Unix(t.Unix(), 0) }

func joinLabels(labels map[string]string) string {
	joined := make([]string, 0, len(labels))
	for k, v := range labels {
		joined = append(joined, k+"="+v)
	}
	slices.Sort(joined)
	return strings.Join(joined, ",")
}

func describeDeletion(d *state.Deletion) string {
	switch {
	case d == nil:
		return ""
	case d.Error != "":
		return d.Error
	}
	return "requested"
}

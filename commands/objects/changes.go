package objects

import (
	"io"
	"slices"
	"time"

	"github.com/docker-rd/docker-rd/commands/output"
	"github.com/docker-rd/docker-rd/mirror/state"
)

// Changes prints what a query finds, and then what changes of that from state to state.
type Changes struct {
	*Query
	last  *view           // nil before the first
	found map[string]bool // the keys of what the query finds in last
	out   *output.Stream[row]
}

// Changes returns what prints the changes of what the query finds to w.
func (q *Query) Changes(w io.Writer) *Changes {
	l := q.layout
	if q.o.IsTable() {
		l.Table = "{{.Event}}\t" + l.Table
	}
	return &Changes{
		Query: q, out: output.NewStream(w, q.o.Options, l, q.empty, string(state.Modified)), // the longest event
	}
}

// Show prints what the query finds in the first state, which shows the given moment, and in each later one a row for
// every change since the one before. A word that means nothing is an error in the first
// state alone: what it means may come again.
func (c *Changes) Show(s *state.State, now time.Time) error {
	v := newView(s, c.o, now)
	keys, err := c.list(v, c.last == nil)
	if err != nil {
		return err
	}
	found := make(map[string]bool, len(keys))
	for _, key := range keys {
		found[key] = true
	}
	var rows []row
	if c.last == nil {
		for _, key := range keys {
			rows = append(rows, events(state.Added, c.rows(v, key))...)
		}
	} else {
		rows = c.between(v, keys, found)
	}
	c.last, c.found = v, found
	return c.out.WriteRows(rows)
}

// between returns the rows of what has changed since the last state: first of objects
// that changed themselves, in the order in which they did, then of those which a filter
// or a name means differently now because others changed.
func (c *Changes) between(v *view, keys []string, found map[string]bool) []row {
	var changed []string
	seen, anew := map[string]bool{}, map[string]bool{}
	add := func(key string) {
		if !seen[key] {
			seen[key] = true
			changed = append(changed, key)
		}
	}
	for _, change := range state.Changes(c.last.State, v.State) {
		if change.Kind == c.Kind.Kind {
			add(change.ID)
			anew[change.ID] = anew[change.ID] || change.Type == state.Deletes
		}
	}
	for _, key := range c.keys(c.last, true) {
		if c.found[key] && !found[key] {
			add(key)
		}
	}
	for _, key := range keys {
		if !c.found[key] {
			add(key)
		}
	}
	var rows []row
	for _, key := range changed {
		var before, after []row
		if c.found[key] {
			before = c.rows(c.last, key)
		}
		if found[key] {
			after = c.rows(v, key)
		}
		rows = append(rows, differences(before, after, anew[key])...)
	}
	return rows
}

// differences returns what became of an object's rows. Where it was made anew, those
// from before are gone.
func differences(before, after []row, anew bool) []row {
	parts := func(rows []row) (parts []string) {
		for _, r := range rows {
			parts = append(parts, r.part())
		}
		return parts
	}
	was, is := parts(before), parts(after)
	if anew {
		was = nil
	}
	var rows []row
	for _, r := range before {
		if anew || !slices.Contains(is, r.part()) {
			rows = append(rows, events(state.Deletes, []row{r})...)
		}
	}
	for _, r := range after {
		event := state.Added
		if slices.Contains(was, r.part()) {
			event = state.Modified
		}
		rows = append(rows, events(event, []row{r})...)
	}
	return rows
}

func events(event state.ChangeType, rows []row) []row {
	for _, r := range rows {
		r.setEvent(event)
	}
	return rows
}

package objects

import (
	"io"
	"slices"
	"time"

	"github.com/docker-rd/docker-rd/commands/output"
	"github.com/docker-rd/docker-rd/mirror/state"
)

// Changes prints the result of a query, and then how it changes from state to state.
type Changes struct {
	*Query
	last  *view           // nil before the first state
	found map[string]bool // the keys that the query finds in last
	out   *output.Stream[row]
}

// Changes returns a printer of changes to w.
func (q *Query) Changes(w io.Writer) *Changes {
	l := q.layout
	if q.o.IsTable() {
		l.Table = `{{printf "%-8s" .Event}}` + "\t" + l.Table // as wide as the longest
	}
	return &Changes{Query: q, out: output.NewStream(w, q.o.Options, l, q.empty)}
}

// Show prints the result of the query in the first state, and for each later one a row for every
// change since the last. A word that names nothing is an error in the first state only: the
// object may come later. Now is the moment that the state shows.
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

// between returns rows for the changes since the last state: first of objects that changed
// themselves, in that order, then of those that a filter or a name finds, or no longer finds,
// because others changed.
func (c *Changes) between(v *view, keys []string, found map[string]bool) []row {
	var changed []string
	seen, recreated := map[string]bool{}, map[string]bool{}
	add := func(key string) {
		if !seen[key] {
			seen[key] = true
			changed = append(changed, key)
		}
	}
	for _, change := range state.Changes(c.last.State, v.State) {
		if change.Kind == c.Kind.Kind {
			add(change.ID)
			recreated[change.ID] = recreated[change.ID] || change.Type == state.Deletes
		}
	}
	for _, key := range c.keys(c.last.State) {
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
		rows = append(rows, differences(before, after, recreated[key])...)
	}
	return rows
}

// differences returns rows for the changes of an object's rows. If the object was recreated, all
// rows of before are deleted.
func differences(before, after []row, recreated bool) []row {
	parts := func(rows []row) (parts []string) {
		for _, r := range rows {
			parts = append(parts, r.part())
		}
		return parts
	}
	was, is := parts(before), parts(after)
	if recreated {
		was = nil
	}
	var rows []row
	for _, r := range before {
		if recreated || !slices.Contains(is, r.part()) {
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
		r.what().Event = event
	}
	return rows
}

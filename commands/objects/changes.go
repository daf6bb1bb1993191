package objects

import (
	"io"
	"slices"

	"github.com/docker-rd/docker-rd/commands/output"
	"github.com/docker-rd/docker-rd/mirror/state"
)

// Changes prints what a query finds, and then what changes from state to state.
type Changes struct {
	*Query
	last  *view           // nil before the first
	only  []string        // the keys that were named, nil for all
	shown map[string]bool // by key
	out   *output.Stream[row]
}

// Changes returns what prints the changes of what the query finds to w.
func (q *Query) Changes(w io.Writer) *Changes {
	l := q.layout
	if q.o.IsTable() {
		l.Table = "{{.Event}}\t" + l.Table
	}
	return &Changes{
		Query: q, shown: map[string]bool{},
		out: output.NewStream(w, q.o.Options, l, q.empty, string(state.Modified)), // the longest event
	}
}

// Show prints what the query finds in the first state, and in each later one a row for
// every change since the one before.
func (c *Changes) Show(s *state.State) error {
	v := newView(s, c.o)
	defer func() { c.last = v }()
	if c.last == nil {
		return c.begin(v)
	}
	match, err := c.match(v, c.filters)
	if err != nil {
		return err
	}
	v.shows = c.last.shows
	var rows []row
	for _, change := range state.Changes(c.last.State, s) {
		if change.Type == state.Resync {
			for key := range c.shown {
				rows = append(rows, c.rowsOf(c.last, key, state.Deletes)...)
			}
			clear(c.shown)
		}
		if change.Kind != c.Kind.Kind || c.only != nil && !slices.Contains(c.only, change.ID) {
			continue
		}
		switch was := c.shown[change.ID]; {
		case change.Type == state.Deletes && was:
			rows = append(rows, c.rowsOf(c.last, change.ID, state.Deletes)...)
			delete(c.shown, change.ID)
		case change.Type == state.Deletes:
		case !match(change.ID) && was:
			rows = append(rows, c.rowsOf(v, change.ID, state.Deletes)...)
			delete(c.shown, change.ID)
		case !match(change.ID):
		case was:
			rows = append(rows, c.rowsOf(v, change.ID, state.Modified)...)
		default:
			rows = append(rows, c.rowsOf(v, change.ID, state.Added)...)
			c.shown[change.ID] = true
		}
	}
	return c.out.WriteRows(rows)
}

// begin prints what there is.
func (c *Changes) begin(v *view) error {
	keys, err := c.list(v)
	if err != nil {
		return err
	}
	if len(c.words) > 0 {
		c.only = keys
	}
	var rows []row
	for _, key := range keys {
		c.shown[key] = true
		rows = append(rows, c.rowsOf(v, key, state.Added)...)
	}
	return c.out.WriteRows(rows)
}

func (c *Changes) rowsOf(v *view, key string, event state.ChangeType) []row {
	rows := c.rows(v, key)
	for _, r := range rows {
		r.setEvent(event)
	}
	return rows
}

package objects

import (
	"io"
	"slices"
	"time"

	"github.com/docker/cli/opts"

	"github.com/docker-rd/docker-rd/commands/output"
	"github.com/docker-rd/docker-rd/mirror/state"
)

// Options are how objects are listed.
type Options struct {
	output.Options
	All     bool // intermediate images too
	NoTrunc bool
	Filter  opts.FilterOpt
}

// A Query selects objects of a kind and their output.
type Query struct {
	*Kind
	o       Options
	words   []string
	filters filterSet
}

// NewQuery returns the query for the objects of a kind that the words name, or for all, that
// pass the filters. It refuses filters that can't be answered.
func NewQuery(k *Kind, words []string, o Options) (*Query, error) {
	filters, err := parseFilters(k, o.Filter)
	return &Query{Kind: k, o: o, words: words, filters: filters}, err
}

// Write prints the result of the query. Now is the moment that the mirror shows. A word that
// names nothing is an error.
func (q *Query) Write(w io.Writer, s *state.State, now time.Time) error {
	v := newView(s, q.o, now)
	keys, err := q.list(v, true)
	if err != nil {
		return err
	}
	var rows []row
	for _, key := range keys {
		rows = append(rows, q.rows(v, key)...)
	}
	layout := q.layout
	if slices.ContainsFunc(rows, func(r row) bool { return r.what().Deletion != "" }) {
		layout.Table += "\t{{.Deletion}}"
	}
	return output.NewStream(w, q.o.Options, layout, q.empty).WriteRows(rows)
}

// list returns the keys of the result, in docker's order or in that of the words. If strict, each
// word must name one object.
func (q *Query) list(v *view, strict bool) ([]string, error) {
	match, err := q.match(v, q.filters)
	if err != nil {
		return nil, err
	}
	keys, err := q.named(v.State, strict)
	if err != nil {
		return nil, err
	}
	if len(q.words) == 0 {
		keys = q.keys(v.State)
		if q.Kind.Kind == state.Images && !q.o.All {
			keys = v.withoutIntermediate(keys)
		}
	}
	v.shows = q.references(v.State)
	return slices.DeleteFunc(keys, func(key string) bool { return !match(key) }), nil
}

func (q *Query) named(s *state.State, strict bool) ([]string, error) {
	var keys []string
	for _, word := range q.words {
		found := q.Find(s, word)
		if strict && len(found) != 1 {
			_, err := q.One(s, word)
			return nil, err
		}
		for _, key := range found {
			if !slices.Contains(keys, key) {
				keys = append(keys, key)
			}
		}
	}
	return keys, nil
}

// references returns a function that reports whether a reference of an image is selected: by a
// filter, or by name. Nil selects all.
func (q *Query) references(s *state.State) func(id, ref string) bool {
	if q.Kind.Kind != state.Images || len(q.words) == 0 && !q.filters.has("reference") {
		return nil
	}
	named := map[string][]string{} // by image
	whole := map[string]bool{}
	for _, word := range q.words {
		id, ref := ImageReference(s, word)
		named[id] = append(named[id], ref)
		i := s.Images[id]
		whole[id] = whole[id] || !slices.Contains(slices.Concat(i.RepoTags, i.RepoDigests), ref) // it was named by an id
	}
	return func(id, ref string) bool {
		if refs := named[id]; refs != nil && !whole[id] && !slices.Contains(refs, ref) {
			return false
		}
		return !q.filters.has("reference") || q.filters.refersTo(ref)
	}
}

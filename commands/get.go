package commands

import (
	"bytes"
	"context"
	"errors"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/docker/cli/cli/command/formatter"
	"github.com/docker/cli/opts"
	"github.com/spf13/cobra"

	"github.com/docker-rd/docker-rd/engine"
	"github.com/docker-rd/docker-rd/internal/failure"
	"github.com/docker-rd/docker-rd/mirror/state"
	"github.com/docker-rd/docker-rd/supervisor"
)

type getOptions struct {
	listOptions
	all     bool
	noTrunc bool
	watch   bool
	filter  opts.FilterOpt
}

func (a *app) newGet() *cobra.Command {
	o := getOptions{filter: opts.NewFilterOpt()}
	cmd := &cobra.Command{
		Use:   "get [OPTIONS] KIND [NAME|ID...]",
		Short: "List objects of an engine from its mirror",
		Long: `List objects of an engine from its mirror: containers, images, volumes, networks or
namespaces.

Nothing but the mirror is read, so this also works while the engine hangs or is gone;
a note then says how old the mirror is. Tables, filters and the placeholders of
templates are docker's. Besides, there are .Deletion and .LastAction, which tell of
requests, and .Event with --watch.`,
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: a.completeObjects,
		RunE:              func(cmd *cobra.Command, args []string) error { return a.runGet(cmd.Context(), &o, args) },
	}
	o.addTo(cmd)
	flags := cmd.Flags()
	flags.BoolVarP(&o.all, "all", "a", false, "List intermediate images too (containers are all listed)")
	flags.BoolVar(&o.noTrunc, "no-trunc", false, "Do not shorten the output")
	flags.BoolVarP(&o.watch, "watch", "w", false, "Go on with a row for each change")
	flags.VarP(&o.filter, "filter", "f", `Filter as docker does (e.g. "status=running")`)
	return cmd
}

// A query is what get was asked for.
type query struct {
	*getOptions
	*kind
	words   []string
	filters filterSet
}

func (a *app) runGet(ctx context.Context, o *getOptions, args []string) error {
	k, err := parseKind(args[0])
	if err != nil {
		return err
	}
	q := &query{getOptions: o, kind: k, words: args[1:]}
	if q.filters, err = parseFilters(k, o.filter); err != nil {
		return err
	}
	i, err := a.load(nil)
	if err != nil {
		return err
	}
	if o.watch {
		return a.getWatch(ctx, i, q)
	}
	// It is over before collecting what it leaves behind would pay.
	debug.SetGCPercent(800)
	s, err := readState(i)
	if err != nil {
		return err
	}
	a.noteAge(s, supervisor.Live(s))
	v := newView(s, o)
	keys, err := q.list(v)
	if err != nil {
		return err
	}
	parts := q.parts(v, keys)
	if o.format != formatter.JSONFormatKey {
		return writeRowsLike(a.out(), o.listOptions, k.table, k.key, k.empty, slices.Concat(parts...))
	}
	texts := make([]bytes.Buffer, len(parts))
	errs := make([]error, len(parts))
	var group sync.WaitGroup
	for n, rows := range parts {
		group.Go(func() { errs[n] = writeJSONLines(&texts[n], rows) })
	}
	group.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	for n := range texts {
		if _, err := texts[n].WriteTo(a.out()); err != nil {
			return err
		}
	}
	return nil
}

// minPart is how many objects are worth a goroutine.
const minPart = 200

// parts returns the rows of the objects in their order, made on all processors.
func (q *query) parts(v *view, keys []string) [][]row {
	parts := make([][]row, max(1, min(runtime.GOMAXPROCS(0), len(keys)/minPart)))
	var group sync.WaitGroup
	for n := range parts {
		group.Go(func() {
			v, keys := v.copy(), keys[len(keys)*n/len(parts):len(keys)*(n+1)/len(parts)]
			for _, key := range keys {
				parts[n] = append(parts[n], q.rows(v, key)...)
			}
		})
	}
	group.Wait()
	return parts
}

// noteAge says how old a mirror is that is not kept up to date.
func (a *app) noteAge(s *state.State, live bool) {
	if why := staleness(s, live, time.Now()); why != "" {
		a.note("%s", why)
	}
}

// noteChange says how old a mirror is that is followed, when that begins or ends to be
// worth a note. Last is what was said last.
func (a *app) noteChange(last *string, s *state.State, live bool) {
	note := staleness(s, live, time.Now())
	if note == *last {
		return
	}
	if *last = note; note == "" {
		note = "the mirror is up to date again"
	}
	a.note("%s", note)
}

// list returns the keys of what is asked for, in docker's order or in that of the words.
func (q *query) list(v *view) ([]string, error) {
	match, err := q.match(v, q.filters)
	if err != nil {
		return nil, err
	}
	keys, err := q.named(v.State)
	if err != nil {
		return nil, err
	}
	if keys == nil {
		keys = q.keys(v, q.all)
	}
	v.shows = q.references(v.State)
	return slices.DeleteFunc(keys, func(key string) bool { return !match(key) }), nil
}

// named returns the keys of the objects that the words name, nil if there are no words.
func (q *query) named(s *state.State) ([]string, error) {
	var keys []string
	for _, word := range q.words {
		key, err := q.one(s, word)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(keys, key) {
			keys = append(keys, key)
		}
	}
	return keys, nil
}

// references returns which references of images are asked for: those that a filter
// leaves, and of an image that was named by one, that one.
func (q *query) references(s *state.State) func(id, ref string) bool {
	if q.Kind != state.Images || len(q.words) == 0 && !q.filters.has("reference") {
		return nil
	}
	named := map[string][]string{} // by image
	whole := map[string]bool{}
	for _, word := range q.words {
		id, ref := imageReference(s, word)
		named[id] = append(named[id], ref)
		whole[id] = whole[id] || ref == ""
	}
	return func(id, ref string) bool {
		if refs := named[id]; refs != nil && !whole[id] && !slices.Contains(refs, ref) {
			return false
		}
		return !q.filters.has("reference") || q.filters.refersTo(ref)
	}
}

// imageReference returns the image that a word means and the reference that it is, ""
// if it is an id.
func imageReference(s *state.State, word string) (id, ref string) {
	names := imageNames(s)
	for _, form := range referenceForms(word) {
		if id, ok := names[form]; ok {
			return id, form
		}
	}
	if found := byID(s.Images, word); len(found) == 1 {
		return found[0], ""
	}
	return "", ""
}

// getWatch lists, and then prints a row for each change until ctx ends.
func (a *app) getWatch(ctx context.Context, i *engine.Instance, q *query) error {
	w := &changeWriter{query: q, app: a}
	err := supervisor.FollowObjects(ctx, i, func(o supervisor.Observation) (bool, error) {
		if _, corrupt := errors.AsType[*state.CorruptError](o.StateErr); corrupt && w.last != nil {
			return true, nil // it is being made anew
		}
		if o.StateErr != nil {
			return false, readError(i, o.StateErr)
		}
		return true, w.show(o.State, o.Live)
	})
	return interrupted(ctx, err)
}

// interrupted is the end of a command that goes on until it is told to end: as with
// docker's own, the status says so, and no message.
func interrupted(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return ExitStatus(failure.CodeInterrupted)
	}
	return err
}

// A changeWriter prints what changes from state to state.
type changeWriter struct {
	*query
	app   *app
	last  *view           // nil before the first
	only  []string        // the keys that were named, nil for all
	shown map[string]bool // by key
	note  string          // the last one about the age
	table *columns
}

func (w *changeWriter) show(s *state.State, live bool) error {
	w.app.noteChange(&w.note, s, live)
	v := newView(s, w.getOptions)
	defer func() { w.last = v }()
	if w.last == nil {
		keys, err := w.list(v)
		if err != nil {
			return err
		}
		w.shown = map[string]bool{}
		if len(w.words) > 0 {
			w.only = keys
		}
		var rows []row
		for _, key := range keys {
			w.shown[key] = true
			rows = append(rows, w.rowsOf(v, key, state.Added)...)
		}
		w.table = newColumns(w.app.out(), w.getOptions.listOptions, w.kind)
		return w.table.write(rows)
	}
	match, err := w.match(v, w.filters)
	if err != nil {
		return err
	}
	v.shows = w.last.shows
	var rows []row
	for _, c := range state.Changes(w.last.State, s) {
		if c.Type == state.Resync {
			for key := range w.shown {
				rows = append(rows, w.rowsOf(w.last, key, state.Deletes)...)
			}
			clear(w.shown)
		}
		if c.Kind != w.Kind || w.only != nil && !slices.Contains(w.only, c.ID) {
			continue
		}
		switch was := w.shown[c.ID]; {
		case c.Type == state.Deletes && was:
			rows = append(rows, w.rowsOf(w.last, c.ID, state.Deletes)...)
			delete(w.shown, c.ID)
		case c.Type == state.Deletes:
		case !match(c.ID) && was:
			rows = append(rows, w.rowsOf(v, c.ID, state.Deletes)...)
			delete(w.shown, c.ID)
		case !match(c.ID):
		case was:
			rows = append(rows, w.rowsOf(v, c.ID, state.Modified)...)
		default:
			rows = append(rows, w.rowsOf(v, c.ID, state.Added)...)
			w.shown[c.ID] = true
		}
	}
	return w.table.write(rows)
}

func (w *changeWriter) rowsOf(v *view, key string, event state.ChangeType) []row {
	rows := w.rows(v, key)
	for _, r := range rows {
		r.setEvent(event)
	}
	return rows
}

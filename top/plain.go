package top

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/docker-rd/docker-rd/board"
)

// Plain prints the tables once, for output that is no terminal. Names are the instances to wait
// for.
func Plain(ctx context.Context, w io.Writer, names []string, o Options) error {
	m := newModel(o.Only)
	missing := map[string]bool{}
	for _, name := range names {
		if o.Only == "" || o.Only == name {
			missing[name] = true
		}
	}
	if len(missing) > 0 {
		err := o.Follow(ctx, func(v board.View) error {
			m.see(v)
			delete(missing, v.Name)
			if len(missing) == 0 {
				return errAll
			}
			return nil
		})
		if !errors.Is(err, errAll) {
			return err
		}
	}
	now := time.Now()
	for tab, table := range tables {
		rows := m.rowsOf(tab, now)
		if len(rows) == 0 && tab != instancesTab {
			continue
		}
		if tab > 0 {
			if _, err := fmt.Fprintln(w); err != nil {
				return err
			}
		}
		if err := printTable(w, table, rows); err != nil {
			return err
		}
	}
	return nil
}

var errAll = errors.New("all instances are seen")

func printTable(w io.Writer, table table, rows []row) error {
	out := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	line := func(texts []string) {
		_, _ = fmt.Fprintln(out, strings.TrimRight(strings.Join(texts, "\t"), "\t")) // kept until Flush
	}
	shown := func(c column) bool { return c.title != "CPU" && c.title != "MEMORY" }
	var titles []string
	for _, c := range table.columns {
		if shown(c) {
			titles = append(titles, c.title)
		}
	}
	line(titles)
	for _, r := range rows {
		var texts []string
		for i, c := range r.cells {
			if shown(table.columns[i]) {
				texts = append(texts, clean(c.text))
			}
		}
		line(texts)
	}
	return out.Flush()
}

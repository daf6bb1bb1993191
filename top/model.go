package top

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/fvbommel/sortorder"

	"github.com/docker-rd/docker-rd/board"
	"github.com/docker-rd/docker-rd/mirror/state"
)

// An object is what a row is about.
type object struct {
	instance string
	kind     state.Kind // "" for the instance itself
	key      string
}

// A row is a line of a table.
type row struct {
	object
	called string
	cells  []cell
}

// A cell is one value of a row.
type cell struct {
	text  string
	order float64 // what to sort by, where that is not the text
	mood  mood
}

// mood is what a color says of a cell.
type mood int

const (
	plain mood = iota
	good
	bad
	waiting
	faint
)

// A table is what can be shown.
type table struct {
	name    string
	columns []column
	rows    func(m *model, v board.View, now time.Time) []row
}

type column struct {
	title  string
	right  bool // its values end at the right
	number bool // it is sorted by cell.order, the largest first
}

// model is what is known and what of it is looked at.
type model struct {
	only   string
	status func(board.View) string
	views  map[string]board.View
	usage  map[object]Usage // nil if it is not shown

	tab     int
	sorting []sorting // of each table
	search  string
	cursor  object // where the user is, even if other rows come before it
	index   int    // where that was last
	first   int    // the first row that is visible
}

type sorting struct {
	column int
	turned bool
}

func newModel(only string, status func(board.View) string) *model {
	m := &model{only: only, status: status, views: map[string]board.View{}, sorting: make([]sorting, len(tables))}
	if only != "" {
		m.tab = 1 // there is only one instance to see
	}
	return m
}

// see takes in a view of an instance.
func (m *model) see(v board.View) {
	switch {
	case m.only != "" && v.Name != m.only:
	case v.Gone:
		delete(m.views, v.Name)
	default:
		m.views[v.Name] = v
	}
}

// columns returns the columns of a table: without the instance where there is only one, and
// without what containers use where that is not asked for.
func (m *model) columns(t int) []column { return tables[t].columns }

// rows returns the rows of the table that is looked at, as they are to be seen.
func (m *model) rows(now time.Time) []row { return m.rowsOf(m.tab, now) }

func (m *model) rowsOf(tab int, now time.Time) []row {
	var rows []row
	for _, v := range m.views {
		rows = append(rows, tables[tab].rows(m, v, now)...)
	}
	if words := strings.ToLower(m.search); words != "" && tab == m.tab {
		rows = slices.DeleteFunc(rows, func(r row) bool {
			return !slices.ContainsFunc(r.cells, func(c cell) bool { return strings.Contains(strings.ToLower(c.text), words) })
		})
	}
	s := m.sorting[tab]
	number := tables[tab].columns[s.column].number
	slices.SortFunc(rows, func(a, b row) int {
		x, y := a.cells[s.column], b.cells[s.column]
		order := sortorder.NaturalCompare(x.text, y.text)
		if number {
			order = cmp.Compare(y.order, x.order)
		}
		if s.turned {
			order = -order
		}
		return cmp.Or(order, sortorder.NaturalCompare(a.instance, b.instance), cmp.Compare(a.cells[0].text, b.cells[0].text), cmp.Compare(a.key, b.key))
	})
	return rows
}

// count returns how many rows a table has without a search.
func (m *model) count(tab int, now time.Time) int {
	n := 0
	for _, v := range m.views {
		n += len(tables[tab].rows(m, v, now))
	}
	return n
}

// selected returns the row that the cursor is on; ok is false if there are no rows. A row
// that is gone leaves the cursor where it was.
func (m *model) selected(rows []row) (r row, ok bool) {
	if len(rows) == 0 {
		return row{}, false
	}
	if at := slices.IndexFunc(rows, func(r row) bool { return r.object == m.cursor }); at >= 0 {
		m.index = at
	}
	m.index = min(max(m.index, 0), len(rows)-1)
	m.cursor = rows[m.index].object
	return rows[m.index], true
}

// move moves the cursor by so many rows.
func (m *model) move(rows []row, by int) {
	if _, ok := m.selected(rows); ok {
		m.index = min(max(m.index+by, 0), len(rows)-1)
		m.cursor = rows[m.index].object
	}
}

// show looks at another table.
func (m *model) show(tab int) {
	m.tab = (tab + len(tables)) % len(tables)
	m.cursor, m.index, m.first, m.search = object{}, 0, 0, ""
}

// sortNext sorts by the next column.
func (m *model) sortNext() {
	s := &m.sorting[m.tab]
	*s = sorting{column: (s.column + 1) % len(m.columns(m.tab))}
}

// sortTurned turns the order around.
func (m *model) sortTurned() { m.sorting[m.tab].turned = !m.sorting[m.tab].turned }

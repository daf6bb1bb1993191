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

// An object identifies the object of a row.
type object struct {
	instance string
	kind     state.Kind // "" for the instance itself
	key      string
}

type row struct {
	object
	called string
	cells  []cell
}

type cell struct {
	text  string
	order float64 // to sort by, in a column of numbers
	mood  mood
}

// A mood is the meaning of a color.
type mood int

const (
	plain mood = iota
	good
	bad
	waiting
	faint
)

type table struct {
	name    string
	columns []column
	rows    func(m *model, v board.View, now time.Time) []row // v has a state, but for instances
}

type column struct {
	title  string
	right  bool // aligned to the right
	number bool // sorted by cell.order, the largest first
	ends   bool // shortened in the middle: both ends tell things apart
	whole  bool // not shortened, but left out
}

// model is the data, and which part of it is shown.
type model struct {
	only  string
	views map[string]board.View
	usage map[object]Usage // nil if it is off

	tab     int
	sorting []sorting // of each table
	search  string
	cursor  object // the selected object
	index   int    // its last position
	first   int    // the first visible row
}

type sorting struct {
	column int
	turned bool
}

func newModel(only string) *model {
	m := &model{only: only, views: map[string]board.View{}, sorting: make([]sorting, len(tables))}
	if only != "" {
		m.tab = containersTab // there is only one instance
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

// rows returns the rows of the current table, filtered and sorted.
func (m *model) rows(now time.Time) []row { return m.rowsOf(m.tab, now) }

// all returns the rows of a table.
func (m *model) all(tab int, now time.Time) (rows []row) {
	for _, v := range m.views {
		if v.State != nil || tab == instancesTab {
			rows = append(rows, tables[tab].rows(m, v, now)...)
		}
	}
	return rows
}

func (m *model) rowsOf(tab int, now time.Time) []row {
	rows := m.all(tab, now)
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

// selected returns the row under the cursor; ok is false if there are no rows. If the object is
// gone, the cursor keeps its position.
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

func (m *model) move(rows []row, by int) {
	if _, ok := m.selected(rows); ok {
		m.index = min(max(m.index+by, 0), len(rows)-1)
		m.cursor = rows[m.index].object
	}
}

// show switches to another table.
func (m *model) show(tab int) {
	m.tab = (tab + len(tables)) % len(tables)
	m.cursor, m.index, m.first, m.search = object{}, 0, 0, ""
}

// sortNext sorts by the next column that is not hidden.
func (m *model) sortNext(hidden []bool) {
	next := (m.sorting[m.tab].column + 1) % len(hidden)
	for hidden[next] {
		next = (next + 1) % len(hidden)
	}
	m.sorting[m.tab] = sorting{column: next}
}

// turn turns the order of the table round.
func (m *model) turn() {
	s := &m.sorting[m.tab]
	s.turned = !s.turned
}

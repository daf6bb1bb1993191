package top

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rivo/uniseg"

	"github.com/docker-rd/docker-rd/board"
	"github.com/docker-rd/docker-rd/instance"
	"github.com/docker-rd/docker-rd/mirror/state"
)

func TestShorten(t *testing.T) {
	for _, c := range []struct {
		text        string
		width, tail int
		want        string
	}{
		{"web", 3, 2, "web"},
		{"webserver", 5, 0, "webs…"},
		{"日本語", 6, 4, "日本語"},
		{"日本語", 5, 0, "日本…"},
		{"日本語", 4, 0, "日…"},
		{"日本語", 5, 3, "日…語"},
		{"e\u0301e\u0301e\u0301", 2, 0, "e\u0301…"},
		{"e\u0301e\u0301e\u0301", 2, 1, "…e\u0301"},
		{"registry.example/a/very/long/name:1.2", 14, 9, "regi…/name:1.2"},
	} {
		if got := shorten(c.text, c.width, c.tail); got != c.want || uniseg.StringWidth(got) > c.width {
			t.Errorf("shorten(%q, %d) = %q, want %q", c.text, c.width, got, c.want)
		}
	}
}

// Names and errors come from elsewhere: they do not command the terminal.
func TestClean(t *testing.T) {
	if got, want := clean("a\x1b[31mb\tc\nd\u009bx"), "a·[31mb c·d·x"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestFit(t *testing.T) {
	titles := []string{"NAME", "STATUS", "IMAGE"}
	rows := []row{{cells: []cell{{text: "web"}, {text: "Up 3 minutes"}, {text: "registry.example/a/very/long/name:1"}}}}
	for _, c := range []struct {
		width  int
		hidden []bool
		want   []int
	}{
		{100, []bool{false, false, false}, []int{4, 12, 35}},
		{40, []bool{false, false, false}, []int{4, 12, 19}},
		{30, []bool{false, false, false}, []int{4, 10, 11}},
		{20, []bool{false, false, false}, []int{4, 8, 0}},
		{100, []bool{false, true, false}, []int{4, 0, 35}},
	} {
		if got := fit(titles, rows, c.hidden, c.width); !slices.Equal(got, c.want) {
			t.Errorf("fit into %d with hidden %v = %v, want %v", c.width, c.hidden, got, c.want)
		}
	}
}

// The cursor stays at its object when others come before it, and where it was when its
// object goes.
func TestCursor(t *testing.T) {
	rows := func(names ...string) []row {
		var rows []row
		for _, n := range names {
			rows = append(rows, row{object: object{key: n}})
		}
		return rows
	}
	m := newModel("")
	at := func(rows []row) string {
		r, _ := m.selected(rows)
		return r.key
	}
	m.selected(rows("b", "d", "f"))
	m.move(rows("b", "d", "f"), 1)
	if got := at(rows("a", "b", "c", "d", "f")); got != "d" {
		t.Errorf("with new rows before it: %q", got)
	}
	if got := at(rows("a", "b", "c", "f")); got != "f" {
		t.Errorf("when it is gone: %q, want what is there now", got)
	}
	if _, ok := m.selected(nil); ok {
		t.Error("a row is selected where there is none")
	}
}

func TestTabNames(t *testing.T) {
	counts := []int{3, 200, 7, 30, 8, 18}
	for width, want := range map[int]string{
		160: " 1 Instances (3)  2 Containers (200)  3 Images (7)  4 Volumes (30)  5 Networks (8)  6 Conditions (18) ",
		80:  " 1 Instances  2 Containers (200)  3 Images  4 Volumes  5 Networks  6 Conditions ",
		44:  " 1  2 Containers (200)  3  4  5  6 ",
	} {
		if got := strings.Join(tabNames(containersTab, counts, width), ""); got != want {
			t.Errorf("in %d columns: %q, want %q", width, got, want)
		}
	}
}

// What an engine does that has gone away is not known.
func TestLost(t *testing.T) {
	now := time.Now()
	v := board.View{Name: "mine", Instance: &instance.Instance{Name: "mine"}, Observation: instance.Observation{Live: true, State: &state.State{
		Head:       state.Head{WrittenAt: now.Add(-time.Hour)},
		Containers: map[string]state.Container{"1": {Name: "web", State: state.StateRunning, StartedAt: now.Add(-2 * time.Hour)}},
	}}}
	status := func() cell { return containerRows(newModel(""), v, now)[0].cells[1] }
	if got, want := status(), (cell{text: "was: Up About an hour", mood: faint}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	v.State.Mirror.Connected = true
	if got, want := status(), (cell{text: "Up 2 hours", mood: good}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// A column that is not shown is not sorted by.
func TestSortByWhatIsShown(t *testing.T) {
	m := newModel("mine")
	m.sorting[m.tab].column = 1
	m.sortNext([]bool{false, false, true, true, false, false, true})
	if got := m.sorting[m.tab].column; got != 4 {
		t.Errorf("sorted by column %d, want 4", got)
	}
	m.sorting[m.tab].column = 5
	m.sortNext([]bool{false, false, true, true, false, false, true})
	if got := m.sorting[m.tab].column; got != 0 {
		t.Errorf("sorted by column %d, want 0", got)
	}
}

// A line of a log that is too long takes several rows, and the first lines fill a page.
func TestLogPage(t *testing.T) {
	p := &page{lines: []string{"one", "two two two", "three", "four four"}}
	for _, c := range []struct {
		end, height int
		want        []string
		lines       int
	}{
		{4, 3, []string{"three", "four ", "four"}, 2},
		{4, 4, []string{"o", "three", "four ", "four"}, 3},
		{2, 9, []string{"one", "two t", "wo tw", "o"}, 2},
		{0, 9, nil, 0},
	} {
		rows, lines := p.above(c.end, 5, c.height)
		if !slices.Equal(rows, c.want) || lines != c.lines {
			t.Errorf("above(%d) = %q, %d, want %q, %d", c.end, rows, lines, c.want, c.lines)
		}
	}
}

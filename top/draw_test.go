package top

import (
	"slices"
	"testing"

	"github.com/rivo/uniseg"
)

func TestShorten(t *testing.T) {
	for _, c := range []struct {
		text  string
		width int
		want  string
	}{
		{"web", 3, "web"},
		{"webserver", 5, "webs…"},
		{"日本語", 6, "日本語"},
		{"日本語", 5, "日本…"},
		{"日本語", 4, "日…"},
		{"e\u0301e\u0301e\u0301", 2, "e\u0301…"},
	} {
		if got := shorten(c.text, c.width); got != c.want || uniseg.StringWidth(got) > c.width {
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
	m := newModel("", nil)
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

package top

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/gdamore/tcell/v2"
	"github.com/rivo/uniseg"

	"github.com/docker-rd/docker-rd/internal/logfile"
)

const (
	// maxLines is how much of a text is kept.
	maxLines = 5000
	// maxLine is how many bytes a line of a log has at most: what is longer becomes several.
	maxLine = 8 << 10
)

// A page is a text that is shown in place of the tables. More lines may be added.
type page struct {
	title string
	end   func() // when the user leaves it

	mu    sync.Mutex
	lines []string

	up   int // how many lines above the last the view ends
	page int // how many lines a page is
}

func (t *top) help() {
	p := &page{title: "Help", end: func() {}}
	for _, k := range t.keys() {
		p.lines = append(p.lines, fmt.Sprintf(" %-11s%s", k.label(), k.does))
	}
	p.up = len(p.lines) // it is read from its beginning
	t.page = p
}

func (t *top) logs(r row) {
	ctx, cancel := context.WithCancel(t.ctx)
	p := &page{title: "Log of " + r.called, end: cancel}
	t.page = p
	container := ""
	if r.kind != "" {
		container = r.key
	}
	go func() {
		err := t.Logs(ctx, r.instance, container, &logfile.LineWriter{Max: maxLine, Line: func(line []byte) error {
			p.add(strings.TrimRight(string(line), "\r\n"))
			t.post(func() {})
			return nil
		}})
		t.post(func() {
			if err != nil && !errors.Is(err, context.Canceled) {
				t.message, t.bad = err.Error(), true
			}
		})
	}()
}

func (p *page) add(line string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lines = append(p.lines, line)
	if p.up > 0 {
		p.up++ // what is looked at stays
	}
	if over := len(p.lines) - maxLines; over > 0 {
		p.lines = append(p.lines[:0], p.lines[over:]...)
	}
}

func (p *page) keys() []key {
	move := func(by func() int) func(*top, []row) {
		return func(*top, []row) {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.up = min(max(0, p.up+by()), len(p.lines))
		}
	}
	lines := func(n int) func() int { return func() int { return n } }
	return []key{
		{runes: "q", key: []tcell.Key{tcell.KeyEscape, tcell.KeyCtrlC}, does: "back", common: true, do: func(t *top, _ []row) {
			p.end()
			t.page = nil
		}},
		{key: []tcell.Key{tcell.KeyUp}, runes: "k", name: "↑", does: "up", common: true, do: move(lines(1))},
		{key: []tcell.Key{tcell.KeyDown}, runes: "j", name: "↓", does: "down", common: true, do: move(lines(-1))},
		{key: []tcell.Key{tcell.KeyPgUp}, name: "PgUp", does: "a page up", common: true, do: move(func() int { return p.page })},
		{key: []tcell.Key{tcell.KeyPgDn}, name: "PgDn", does: "a page down", common: true, do: move(func() int { return -p.page })},
		{key: []tcell.Key{tcell.KeyHome}, runes: "g", name: "Home", does: "to the first", do: move(lines(maxLines))},
		{key: []tcell.Key{tcell.KeyEnd}, runes: "G", name: "End", does: "to the end", common: true, do: move(lines(-maxLines))},
	}
}

func (p *page) draw(t *top, from, to int) {
	width, _ := t.screen.Size()
	p.mu.Lock()
	defer p.mu.Unlock()
	height := to - from + 1
	rows, lines := p.above(len(p.lines)-p.up, width-2, height)
	for ; len(rows) < height && p.up > 0; rows, lines = p.above(len(p.lines)-p.up, width-2, height) {
		p.up-- // the first line is reached
	}
	p.page = max(1, lines-1)
	if len(p.lines) == 0 {
		t.text(1, from, width, "nothing yet", t.style(faint))
	}
	for y, row := range rows {
		t.text(1, from+y, width, row, tcell.StyleDefault)
	}
}

// above returns the last rows of the lines before end, and how many lines they are. Lines that are
// too long take several rows.
func (p *page) above(end, width, height int) (rows []string, lines int) {
	for end-lines > 0 && len(rows) < height {
		lines++
		rows = append(wrapped(p.lines[end-lines], width), rows...)
	}
	return rows[max(0, len(rows)-height):], lines
}

// wrapped breaks a line into rows of a width.
func wrapped(line string, width int) (rows []string) {
	var row strings.Builder
	used := 0
	for g := uniseg.NewGraphemes(clean(line)); g.Next(); {
		if used += g.Width(); used > width && row.Len() > 0 {
			rows = append(rows, row.String())
			row.Reset()
			used = g.Width()
		}
		row.WriteString(g.Str())
	}
	return append(rows, row.String())
}

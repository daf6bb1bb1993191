package top

import (
	"context"
	"errors"
	"strings"
	"sync"

	"github.com/gdamore/tcell/v2"

	"github.com/docker-rd/docker-rd/internal/logfile"
)

// A page is shown in place of the tables.
type page interface {
	title() string
	keys() []key
	draw(t *top, from, to int) // the lines from and to
}

// back is the key that leaves a page.
func back(leave func(t *top)) key {
	return key{runes: "q", key: []tcell.Key{tcell.KeyEscape, tcell.KeyCtrlC}, does: "back", common: true, do: func(t *top, _ []row) {
		leave(t)
		t.page = nil
	}}
}

type help struct{ all []key }

func (*help) title() string { return "Help" }
func (*help) keys() []key   { return []key{back(func(*top) {})} }

func (h *help) draw(t *top, from, to int) {
	width, _ := t.screen.Size()
	// In as many columns as it takes.
	const wide = 34
	lines := max(1, to-from)
	for i, k := range h.all {
		x := 2 + i/lines*wide
		y := from + 1 + i%lines
		t.text(x, y, width, k.label(), tcell.StyleDefault.Bold(true))
		t.text(x+11, y, width, k.does, tcell.StyleDefault)
	}
}

// maxLines is how much of a log is kept.
const maxLines = 5000

type logPage struct {
	name string
	end  context.CancelFunc

	mu    sync.Mutex
	lines []string

	up     int // how many lines above the last the view ends
	height int
}

func (t *top) logs(r row) {
	ctx, cancel := context.WithCancel(t.ctx)
	p := &logPage{name: "Log of " + r.called, end: cancel}
	t.page = p
	container := ""
	if r.kind != "" {
		container = r.key
	}
	go func() {
		err := t.Logs(ctx, r.instance, container, &logfile.LineWriter{Line: func(line []byte) error {
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

func (p *logPage) add(line string) {
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

func (p *logPage) title() string { return p.name }

func (p *logPage) keys() []key {
	move := func(by func() int) func(*top, []row) {
		return func(*top, []row) {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.up = min(max(0, p.up+by()), max(0, len(p.lines)-p.height))
		}
	}
	lines := func(n int) func() int { return func() int { return n } }
	return []key{
		back(func(*top) { p.end() }),
		{key: []tcell.Key{tcell.KeyUp}, runes: "k", name: "↑", does: "up", common: true, do: move(lines(1))},
		{key: []tcell.Key{tcell.KeyDown}, runes: "j", name: "↓", does: "down", common: true, do: move(lines(-1))},
		{key: []tcell.Key{tcell.KeyPgUp}, name: "PgUp", does: "a page up", common: true, do: move(func() int { return p.height })},
		{key: []tcell.Key{tcell.KeyPgDn}, name: "PgDn", does: "a page down", common: true, do: move(func() int { return -p.height })},
		{key: []tcell.Key{tcell.KeyHome}, runes: "g", name: "Home", does: "to the first", do: move(lines(maxLines))},
		{key: []tcell.Key{tcell.KeyEnd}, runes: "G", name: "End", does: "follow", common: true, do: move(lines(-maxLines))},
	}
}

func (p *logPage) draw(t *top, from, to int) {
	width, _ := t.screen.Size()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.height = to - from + 1
	end := len(p.lines) - p.up
	for y, line := range p.lines[max(0, end-p.height):max(0, end)] {
		t.text(1, from+y, width, line, tcell.StyleDefault)
	}
}

package top

import (
	"context"
	"fmt"
	"time"

	"github.com/gdamore/tcell/v2"

	"github.com/docker-rd/docker-rd/board"
	"github.com/docker-rd/docker-rd/mirror/state"
	"github.com/docker-rd/docker-rd/requests"
)

type key struct {
	runes  string      // any of these
	key    []tcell.Key // or of these
	name   string      // its label, if not the first rune
	does   string
	common bool // it is shown on the last line
	do     func(t *top, rows []row)
}

func (k key) label() string {
	if k.name != "" {
		return k.name
	}
	return string([]rune(k.runes)[:1])
}

func (t *top) keys() []key {
	if t.page != nil {
		return t.page.keys()
	}
	all := []key{
		{runes: "q", key: []tcell.Key{tcell.KeyCtrlC}, does: "quit", common: true, do: func(t *top, _ []row) { t.quit = true }},
		{runes: "?h", key: []tcell.Key{tcell.KeyF1}, does: "help", common: true, do: func(t *top, _ []row) { t.help() }},
		{runes: "/", does: "search", common: true, do: func(t *top, _ []row) { t.typing, t.message = true, "" }},
		{key: []tcell.Key{tcell.KeyTab, tcell.KeyRight}, runes: "", name: "Tab", does: "next table", common: true, do: func(t *top, _ []row) { t.model.show(t.model.tab + 1) }},
		{key: []tcell.Key{tcell.KeyBacktab, tcell.KeyLeft}, name: "Shift-Tab", does: "previous table", do: func(t *top, _ []row) { t.model.show(t.model.tab - 1) }},
		{runes: "s", does: "sort", common: true, do: func(t *top, _ []row) { t.model.sortNext(t.hidden(tables[t.model.tab].columns)) }},
		{runes: "S", does: "reverse the order", do: func(t *top, _ []row) { t.model.turn() }},
		{key: []tcell.Key{tcell.KeyUp}, runes: "k", name: "↑", does: "up", do: func(t *top, rows []row) { t.model.move(rows, -1) }},
		{key: []tcell.Key{tcell.KeyDown}, runes: "j", name: "↓", does: "down", do: func(t *top, rows []row) { t.model.move(rows, 1) }},
		{key: []tcell.Key{tcell.KeyPgUp}, name: "PgUp", does: "a page up", do: func(t *top, rows []row) { t.model.move(rows, -t.pageSize()) }},
		{key: []tcell.Key{tcell.KeyPgDn}, name: "PgDn", does: "a page down", do: func(t *top, rows []row) { t.model.move(rows, t.pageSize()) }},
		{key: []tcell.Key{tcell.KeyHome}, runes: "g", name: "Home", does: "to the first", do: func(t *top, rows []row) { t.model.move(rows, -len(rows)) }},
		{key: []tcell.Key{tcell.KeyEnd}, runes: "G", name: "End", does: "to the last", do: func(t *top, rows []row) { t.model.move(rows, len(rows)) }},
	}
	switch t.model.tab {
	case instancesTab:
		all = append(all, selected("u", "start", (*top).startInstance), selected("o", "stop", (*top).stopInstance), selected("l", "logs", (*top).logs))
	case containersTab:
		all = append(all,
			selected("u", "start", action(requests.ActionStart)), selected("o", "stop", action(requests.ActionStop)),
			selected("r", "restart", action(requests.ActionRestart)), selected("l", "logs", (*top).logs),
			selected("d", "delete", (*top).remove),
			key{runes: "c", does: "CPU and memory", common: true, do: func(t *top, _ []row) { t.toggleUsage() }})
	case conditionsTab:
	default:
		all = append(all, selected("d", "delete", (*top).remove))
	}
	return all
}

// selected is a key that acts on the selected row.
func selected(runes, does string, do func(*top, row)) key {
	return key{runes: runes, does: does, common: true, do: func(t *top, rows []row) {
		if r, ok := t.model.selected(rows); ok {
			do(t, r)
		}
	}}
}

// pageSize is the number of visible rows.
func (t *top) pageSize() int {
	_, height := t.screen.Size()
	return max(1, height-linesAbove-linesBelow)
}

func (t *top) event(e tcell.Event) {
	switch e := e.(type) {
	case *tcell.EventResize:
		t.screen.Sync()
	case *tcell.EventKey:
		t.pressed(e)
	}
}

func (t *top) pressed(e *tcell.EventKey) {
	switch {
	case t.ask != nil:
		t.answer(e)
		return
	case t.typing:
		t.typed(e)
		return
	}
	for _, k := range t.keys() {
		if k.is(e) {
			t.message = ""
			k.do(t, t.model.rows(time.Now()))
			return
		}
	}
	switch {
	case e.Key() == tcell.KeyEscape:
		t.model.search, t.message = "", ""
	case e.Key() == tcell.KeyRune && t.page == nil && e.Rune() >= '1' && int(e.Rune()-'1') < len(tables):
		t.model.show(int(e.Rune() - '1'))
	}
}

func (k key) is(e *tcell.EventKey) bool {
	if e.Key() == tcell.KeyRune {
		for _, r := range k.runes {
			if r == e.Rune() {
				return true
			}
		}
		return false
	}
	for _, code := range k.key {
		if code == e.Key() {
			return true
		}
	}
	return false
}

func (t *top) typed(e *tcell.EventKey) {
	m := t.model
	switch e.Key() {
	case tcell.KeyEscape, tcell.KeyCtrlC:
		t.typing, m.search = false, ""
	case tcell.KeyEnter:
		t.typing = false
	case tcell.KeyBackspace, tcell.KeyBackspace2:
		if runes := []rune(m.search); len(runes) > 0 {
			m.search = string(runes[:len(runes)-1])
		}
	case tcell.KeyRune:
		m.search += string(e.Rune())
	case tcell.KeyUp:
		m.move(m.rows(time.Now()), -1)
	case tcell.KeyDown:
		m.move(m.rows(time.Now()), 1)
	}
}

type ask struct {
	question string
	yes      func()
}

func (t *top) answer(e *tcell.EventKey) {
	a := t.ask
	t.ask = nil
	if e.Key() == tcell.KeyRune && (e.Rune() == 'y' || e.Rune() == 'Y') {
		a.yes()
	}
}

func (t *top) startInstance(r row) {
	t.beside("starting instance "+r.instance, func(ctx context.Context) error { return t.Start(ctx, r.instance) })
}

func (t *top) stopInstance(r row) {
	t.ask = &ask{fmt.Sprintf("Stop instance %q and what runs in it?", r.instance), func() {
		t.beside("stopping instance "+r.instance, func(ctx context.Context) error { return t.Stop(ctx, r.instance) })
	}}
}

// action returns a function that asks for an action on a container.
func action(action string) func(*top, row) {
	return func(t *top, r row) {
		t.beside(action+" "+r.called, func(ctx context.Context) error { return t.Act(ctx, r.instance, r.kind, r.key, action) })
	}
}

// remove asks for a deletion, or cancels one that the engine refuses.
func (t *top) remove(r row) {
	act := func(what, action string) func() {
		return func() {
			t.beside(what, func(ctx context.Context) error { return t.Act(ctx, r.instance, r.kind, r.key, action) })
		}
	}
	called := r.called
	if isPending(t.model.views[r.instance], r.object) {
		t.ask = &ask{fmt.Sprintf("The engine refuses to delete %s so far. Cancel the deletion?", called), act("cancelling the deletion of "+called, board.ActionCancel)}
		return
	}
	kind := map[state.Kind]string{state.Containers: "container", state.Images: "image", state.Volumes: "volume", state.Networks: "network"}[r.kind]
	t.ask = &ask{fmt.Sprintf("Delete %s %q of instance %q?", kind, called, r.instance), act("asking to delete "+called, board.ActionDelete)}
}

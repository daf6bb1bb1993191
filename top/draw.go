package top

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/gdamore/tcell/v2"
	"github.com/rivo/uniseg"
)

// Lines above the table: title, tabs, header. Below: message, keys.
const (
	linesAbove = 3
	linesBelow = 2
)

func (t *top) style(m mood) tcell.Style {
	s := tcell.StyleDefault
	if !t.Color {
		if m == bad {
			s = s.Bold(true)
		}
		return s
	}
	switch m {
	case good:
		return s.Foreground(tcell.ColorGreen)
	case bad:
		return s.Foreground(tcell.ColorRed).Bold(true)
	case waiting:
		return s.Foreground(tcell.ColorYellow)
	case faint:
		return s.Dim(true)
	}
	return s
}

// draw redraws everything; the screen sends only changes to the terminal.
func (t *top) draw() {
	s := t.screen
	s.Clear()
	s.HideCursor()
	width, height := s.Size()
	if width < 20 || height < linesAbove+linesBelow+1 {
		t.text(0, 0, width, "too small", tcell.StyleDefault)
		s.Show()
		return
	}
	now := time.Now()
	t.title(width)
	if t.page != nil {
		t.page.draw(t, 1, height-linesBelow-1)
	} else {
		t.tabs(width, now)
		t.table(width, height, now)
	}
	t.messageLine(width, height-2)
	t.keysLine(width, height-1)
	s.Show()
}

func (t *top) title(width int) {
	title := " docker rd top"
	if t.model.only != "" {
		title += " " + t.model.only
	}
	style := tcell.StyleDefault.Bold(true)
	t.text(0, 0, width, title, style)
	if t.page != nil {
		t.text(len(title)+2, 0, width, t.page.title, style)
	}
}

// tabs draws the names of the tables.
func (t *top) tabs(width int, now time.Time) {
	counts := make([]int, len(tables))
	for i := range tables {
		counts[i] = len(t.model.all(i, now))
	}
	x := 0
	for i, name := range tabNames(t.model.tab, counts, width) {
		style := tcell.StyleDefault
		if i == t.model.tab {
			style = style.Reverse(true)
		}
		x = t.text(x, 1, width, name, style)
	}
}

// tabNames returns the names of the tables with their counts. If there is no room for all, those that
// are not shown lose their count, and then their name.
func tabNames(tab int, counts []int, width int) (names []string) {
	for _, format := range []string{" %d %s (%d) ", " %d %s ", " %d "} {
		names = nil
		total := 0
		for i, table := range tables {
			name := fmt.Sprintf(" %d %s (%d) ", i+1, table.name, counts[i])
			if i != tab {
				name = fmt.Sprintf(format, []any{i + 1, table.name, counts[i]}[:strings.Count(format, "%")]...)
			}
			names = append(names, name)
			total += len(name)
		}
		if total <= width {
			break
		}
	}
	return names
}

func (t *top) table(width, height int, now time.Time) {
	m := t.model
	rows := m.rows(now)
	columns := tables[m.tab].columns
	visible := height - linesAbove - linesBelow
	t.scroll(rows, visible)
	if len(rows) == 0 {
		t.text(1, linesAbove, width, shorten(t.nothing(), width-2, 0), t.style(faint))
	}
	shown := rows[min(m.first, len(rows)):min(m.first+visible, len(rows))]
	titles := make([]string, len(columns))
	for c, column := range columns {
		titles[c] = column.title
		if s := m.sorting[m.tab]; c == s.column {
			titles[c] += map[bool]string{false: "↓", true: "↑"}[s.turned]
		}
	}
	widths := fit(titles, shown, t.hidden(columns), width)
	for c, column := range columns {
		if column.whole && isCut(c, widths, shown) {
			hidden := t.hidden(columns)
			hidden[c] = true
			widths = fit(titles, shown, hidden, width)
		}
	}
	t.cut = ""
	x := 1
	for c, title := range titles {
		t.cell(x, linesAbove-1, widths[c], title, column{right: columns[c].right}, tcell.StyleDefault.Bold(true))
		x += widths[c] + gap(widths[c])
	}
	for y, r := range shown {
		selected := m.first+y == m.index
		x := 1
		if selected {
			t.cut = r.whatIsCut(widths)
			t.text(0, linesAbove+y, width, strings.Repeat(" ", width), tcell.StyleDefault.Reverse(true))
		}
		for c, cell := range r.cells {
			style := t.style(cell.mood)
			if selected {
				style = tcell.StyleDefault.Reverse(true)
			}
			t.cell(x, linesAbove+y, widths[c], cell.text, columns[c], style)
			x += widths[c] + gap(widths[c])
		}
	}
}

func (t *top) nothing() string {
	switch m := t.model; {
	case m.search != "":
		return fmt.Sprintf("nothing has %q in it", m.search)
	case len(m.views) == 0 && m.only != "":
		return fmt.Sprintf("there is no instance %q", m.only)
	case len(m.views) == 0:
		return "there are no instances: `docker rd start` makes one"
	}
	for _, v := range t.model.views {
		if v.Live {
			return "no " + strings.ToLower(tables[t.model.tab].name)
		}
	}
	return "no instance runs"
}

// isCut reports whether a column is narrower than what is in it.
func isCut(column int, widths []int, rows []row) bool {
	return slices.ContainsFunc(rows, func(r row) bool {
		return uniseg.StringWidth(clean(r.cells[column].text)) > widths[column]
	})
}

// whatIsCut returns in full what columns of these widths show only in part.
func (r row) whatIsCut(widths []int) string {
	var texts []string
	for c, cell := range r.cells {
		if widths[c] > 0 && isCut(c, widths, []row{r}) {
			texts = append(texts, clean(cell.text))
		}
	}
	return strings.Join(texts, "  ")
}

func (t *top) scroll(rows []row, visible int) {
	m := t.model
	m.selected(rows)
	m.first = min(m.first, max(0, len(rows)-visible))
	if m.index < m.first {
		m.first = m.index
	}
	if m.index >= m.first+visible {
		m.first = m.index - visible + 1
	}
}

// hidden returns which columns are hidden: the instance if there is only one, and the usage if it
// is off.
func (t *top) hidden(columns []column) []bool {
	hidden := make([]bool, len(columns))
	for c, column := range columns {
		switch column.title {
		case "INSTANCE":
			hidden[c] = len(t.model.views) < 2
		case "CPU", "MEMORY":
			hidden[c] = t.model.usage == nil
		}
	}
	return hidden
}

// gap is the space after a column of a width.
func gap(width int) int {
	if width == 0 {
		return 0
	}
	return 2
}

// fit returns the widths of the columns: as wide as their cells. If there is no room, it narrows
// the widest ones, and then leaves out the last ones.
func fit(titles []string, rows []row, hidden []bool, width int) []int {
	const least = 8
	widths := make([]int, len(titles))
	for c, title := range titles {
		if hidden[c] {
			continue
		}
		widths[c] = uniseg.StringWidth(title)
		for _, r := range rows {
			widths[c] = max(widths[c], uniseg.StringWidth(clean(r.cells[c].text)))
		}
	}
	total := func() int {
		n := 1
		for _, w := range widths {
			n += w + gap(w)
		}
		return n
	}
	for total()-2 > width {
		widest := 0
		for c, w := range widths {
			if w > widths[widest] {
				widest = c
			}
		}
		if widths[widest] > least {
			widths[widest]--
			continue
		}
		last := len(widths) - 1
		for last > 0 && widths[last] == 0 {
			last--
		}
		if last == 0 {
			break
		}
		widths[last] = 0
	}
	return widths
}

// cell draws a text in a column, shortened to fit.
func (t *top) cell(x, y, width int, text string, in column, style tcell.Style) {
	if width == 0 {
		return
	}
	tail := 0
	if in.ends {
		tail = width * 2 / 3
	}
	text = shorten(clean(text), width, tail)
	if in.right {
		x += width - uniseg.StringWidth(text)
	}
	t.text(x, y, x+width, text, style)
}

// shorten makes a text fit into a width: it leaves out what is before its last columns, which are as
// many as tail.
func shorten(text string, width, tail int) string {
	if uniseg.StringWidth(text) <= width {
		return text
	}
	var clusters []string
	for g := uniseg.NewGraphemes(text); g.Next(); {
		clusters = append(clusters, g.Str())
	}
	end, used := len(clusters), 1 // the ellipsis
	for ; end > 0; end-- {
		w := uniseg.StringWidth(clusters[end-1])
		if used+w > tail+1 {
			break
		}
		used += w
	}
	begin := 0
	for ; begin < end; begin++ {
		if used += uniseg.StringWidth(clusters[begin]); used > width {
			break
		}
	}
	return strings.Join(clusters[:begin], "") + "…" + strings.Join(clusters[end:], "")
}

// clean replaces control characters.
func clean(text string) string {
	return strings.Map(func(r rune) rune {
		if r == '\t' {
			return ' '
		}
		if !unicode.IsPrint(r) {
			return '·'
		}
		return r
	}, text)
}

// text draws a text from x up to limit, and returns its end.
func (t *top) text(x, y, limit int, text string, style tcell.Style) int {
	for g := uniseg.NewGraphemes(clean(text)); g.Next(); {
		runes := g.Runes()
		if x+g.Width() > limit {
			break
		}
		t.screen.SetContent(x, y, runes[0], runes[1:], style)
		x += g.Width()
	}
	return x
}

// messageLine draws a question, the search, the outcome of an action, or what of the selected row
// there was no room for.
func (t *top) messageLine(width, y int) {
	switch {
	case t.ask != nil:
		const answers = " [y/N]"
		t.text(1, y, width, shorten(clean(t.ask.question), width-2-len(answers), 0)+answers, t.style(waiting).Bold(true))
	case t.typing:
		x := t.text(1, y, width, "search: "+t.model.search, tcell.StyleDefault)
		t.screen.ShowCursor(x, y)
	case t.message != "":
		mood := plain
		if t.bad {
			mood = bad
		}
		t.text(1, y, width, shorten(t.message, width-2, 0), t.style(mood))
	case t.model.search != "":
		t.text(1, y, width, "search: "+t.model.search+" (Esc: all)", t.style(faint))
	case t.page == nil:
		t.text(1, y, width, shorten(t.cut, width-2, 0), t.style(faint))
	}
}

func (t *top) keysLine(width, y int) {
	x := 1
	for _, k := range t.keys() {
		if !k.common {
			continue
		}
		label := k.label()
		if x+len(label)+len(k.does)+3 > width {
			break
		}
		x = t.text(x, y, width, label, tcell.StyleDefault.Bold(true))
		x = t.text(x, y, width, " "+k.does+"  ", tcell.StyleDefault)
	}
}

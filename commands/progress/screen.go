package progress

import (
	"fmt"
	"strings"
	"time"

	"github.com/rivo/uniseg"
)

// patience is how long a step may take before its line says what it waits for.
const patience = 3 * time.Second

// draw redraws the lines that change, from the first working step on. Finished lines above them
// become final; in the end all do.
func (d *Display) draw() {
	var b strings.Builder
	b.WriteString(d.rewind())
	d.spins++
	for len(d.lines) > 0 && (d.lines[0].Status != Working || d.closed) {
		b.WriteString(d.text(d.lines[0], 0) + "\n")
		d.lines = d.lines[1:]
	}
	width, height := d.o.Size()
	live := d.lines
	if height > 1 && len(live) > height-1 {
		live = live[:height-1] // the rest follows when there is room
	}
	for _, l := range live {
		b.WriteString(d.text(l, width) + "\n")
	}
	d.drawn = len(live)
	_, _ = fmt.Fprint(d.o.Out, b.String())
}

// rewind returns what removes the changing lines, until they are drawn again.
func (d *Display) rewind() string {
	drawn := d.drawn
	if d.drawn = 0; drawn == 0 {
		return ""
	}
	return fmt.Sprintf("\033[%dA\033[J", drawn)
}

const spinner = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"

// text formats a line of at most width columns; 0 is no limit, for a final line.
func (d *Display) text(l *line, width int) string {
	text := d.prefixed(l.Event)
	if l.Status == Result {
		return cut(text, width)
	}
	mark, color := "✔", "32"
	took := time.Duration(l.DurationMs) * time.Millisecond
	switch l.Status {
	case Working:
		took = time.Since(l.begun)
		frames := []rune(spinner)
		mark, color = string(frames[d.spins%len(frames)]), "33"
		if d.closed {
			mark = "…" // it continues without this command
		} else if l.Why != nil && took >= patience {
			if why := l.Why(); why != "" {
				text += ": " + why
			}
		}
	case Warning:
		mark, color = "!", "33"
	case Failed:
		mark, color = "✘", "31"
	}
	if d.o.Color {
		mark = "\033[" + color + "m" + mark + "\033[0m"
	}
	seconds := fmt.Sprintf("%.1fs", took.Seconds())
	const marks = 3 // a space, the mark, and another
	terminal, _ := d.o.Size()
	if terminal == 0 {
		terminal = 80
	}
	room := terminal - 1 - marks - 1 - len(seconds)
	if width == 0 && uniseg.StringWidth(text) > room {
		return " " + mark + " " + text // in full, without a time
	}
	text = cut(text, max(room, 1))
	return " " + mark + " " + text + strings.Repeat(" ", max(0, room-uniseg.StringWidth(text))+1) + seconds
}

// cut shortens the text to width columns; 0 is no limit.
func cut(text string, width int) string {
	text = strings.Map(printable, text)
	if width <= 0 || uniseg.StringWidth(text) <= width {
		return text
	}
	used, end := 1, 0 // the ellipsis
	for g := uniseg.NewGraphemes(text); g.Next(); {
		if used += g.Width(); used > width {
			break
		}
		_, end = g.Positions()
	}
	return text[:end] + "…"
}

// printable replaces control characters: an engine's log must not move the cursor.
func printable(r rune) rune {
	if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
		return ' '
	}
	return r
}

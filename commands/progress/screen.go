package progress

import (
	"fmt"
	"strings"
	"time"

	"github.com/rivo/uniseg"
)

// patience is how long a step may take before its line says what it waits for.
const patience = 3 * time.Second

// A screen is the part of a terminal in which lines change: from the first working step on. Lines
// above are final.
type screen struct {
	o       Options
	several bool
	lines   []*line
	drawn   int // changing lines on the screen
	spins   int
	ended   bool
}

type line struct {
	event Event
	begun time.Time
}

func (s *screen) show(e Event) {
	for _, l := range s.lines {
		if l.event.Instance == e.Instance && l.event.Step == e.Step && l.event.Status == Working {
			if e.Why == nil {
				e.Why = l.event.Why
			}
			l.event = e
			s.draw()
			return
		}
	}
	begun := e.Time.Add(-time.Duration(e.DurationMs) * time.Millisecond)
	s.lines = append(s.lines, &line{e, begun})
	s.draw()
}

// draw redraws the changing lines. Finished lines above them become final.
func (s *screen) draw() {
	var b strings.Builder
	s.rewind(&b)
	s.spins++
	for len(s.lines) > 0 && s.lines[0].event.Status != Working {
		b.WriteString(s.text(s.lines[0], 0) + "\n")
		s.lines = s.lines[1:]
	}
	width, height := s.o.Size()
	live := s.lines
	if height > 1 && len(live) > height-1 {
		live = live[:height-1] // the rest follows when there is room
	}
	for _, l := range live {
		b.WriteString(s.text(l, width) + "\n")
	}
	s.drawn = len(live)
	_, _ = fmt.Fprint(s.o.Out, b.String())
}

// rewind removes the changing lines and moves the cursor to their beginning.
func (s *screen) rewind(b *strings.Builder) {
	if s.drawn > 0 {
		fmt.Fprintf(b, "\033[%dA\033[J", s.drawn)
	}
	s.drawn = 0
}

// clear removes the changing lines, until they are drawn again.
func (s *screen) clear() {
	var b strings.Builder
	s.rewind(&b)
	_, _ = fmt.Fprint(s.o.Out, b.String())
}

// end makes all lines final.
func (s *screen) end() {
	var b strings.Builder
	s.rewind(&b)
	s.ended = true
	for _, l := range s.lines {
		b.WriteString(s.text(l, 0) + "\n")
	}
	s.lines = nil
	_, _ = fmt.Fprint(s.o.Out, b.String())
}

const spinner = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"

// text formats a line of at most width columns; 0 is no limit, for a final line.
func (s *screen) text(l *line, width int) string {
	e := l.event
	text := prefixed(e, s.several)
	if e.Status == Result {
		return cut(text, width)
	}
	mark, color := "✔", "32"
	took := time.Duration(e.DurationMs) * time.Millisecond
	switch e.Status {
	case Working:
		took = s.o.Now().Sub(l.begun)
		frames := []rune(spinner)
		mark, color = string(frames[s.spins%len(frames)]), "33"
		if s.ended {
			mark = "…" // it continues without this command
		} else if e.Why != nil && took >= patience {
			if why := e.Why(); why != "" {
				text += ": " + why
			}
		}
	case Warning:
		mark, color = "!", "33"
	case Failed:
		mark, color = "✘", "31"
	}
	if s.o.Color {
		mark = "\033[" + color + "m" + mark + "\033[0m"
	}
	seconds := fmt.Sprintf("%.1fs", took.Seconds())
	const marks = 3 // a space, the mark, and another
	terminal, _ := s.o.Size()
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

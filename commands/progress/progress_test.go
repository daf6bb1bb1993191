package progress

import (
	"errors"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rivo/uniseg"
)

// terminal shows what is on the screen after the escape sequences that a display uses.
func terminal(output string) []string {
	lines := []string{""}
	row := 0
	sequence := regexp.MustCompile("\x1b\\[([0-9]*)([AJKm])|[^\x1b]")
	for _, m := range sequence.FindAllStringSubmatch(output, -1) {
		switch {
		case m[2] == "A":
			n := 0
			for _, c := range m[1] {
				n = n*10 + int(c-'0')
			}
			row -= n
		case m[2] == "J":
			lines = append(lines[:row], "")
		case m[2] != "":
		case m[0] == "\n":
			if row++; row == len(lines) {
				lines = append(lines, "")
			}
		default:
			lines[row] += m[0]
		}
	}
	return lines[:len(lines)-1]
}

// display returns a display that is redrawn by nobody else, and its output.
func display(mode string, width, height int) (*Display, *strings.Builder) {
	var out strings.Builder
	return &Display{o: Options{Mode: mode, Out: &out, Size: func() (int, int) { return width, height }}}, &out
}

func TestTTY(t *testing.T) { synctest.Test(t, testTTY) }

func testTTY(t *testing.T) {
	d, out := display(TTY, 40, 10)
	screen := func(want ...string) {
		t.Helper()
		got := terminal(out.String())
		if strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("screen:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
	d.Show(Event{Step: "engine", Status: Working, Message: "Engine is starting", Otherwise: "Engine did not start", Why: func() string { return "a\nlong story of what it does" }})
	screen(" ⠙ Engine is starting              0.0s")
	time.Sleep(1500 * time.Millisecond)
	d.draw()
	screen(" ⠹ Engine is starting              1.5s")
	// After a while it says what it waits for, in one line.
	time.Sleep(2 * time.Second)
	d.draw()
	screen(" ⠸ Engine is starting: a long sto… 3.5s")
	// What is written aside stays above, and what ends while something above goes on below.
	d.Aside(func() { out.WriteString("note: x\n") })
	d.Show(Event{Step: "context", Status: Done, Message: "Context exists, and its name is one that is quite long"})
	screen("note: x", " ⠴ Engine is starting: a long sto… 3.5s", " ✔ Context exists, and its name i… 0.0s")
	d.Show(Event{Step: "engine", Status: Done, Message: "Engine answers"})
	d.Show(Event{Step: "mirror", Status: Working, Message: "Mirror is being synced", Otherwise: "Mirror is not synced"})
	d.Show(Event{Step: Itself, Status: Result, Message: "ready"})
	d.Fail("", errors.New("x"))
	d.Close()
	screen("note: x",
		" ✔ Engine answers                  3.5s",
		" ✔ Context exists, and its name is one that is quite long",
		" ✘ Mirror is not synced            0.0s",
		"ready")
}

// A line that changes takes one line of the screen, whatever it is written in.
func TestTTYWide(t *testing.T) { synctest.Test(t, testTTYWide) }

func testTTYWide(t *testing.T) {
	d, out := display(TTY, 40, 10)
	d.Show(Event{Step: "engine", Status: Working, Message: "Engine is starting", Why: func() string { return "日本語の長い長い長い長い言葉" }})
	time.Sleep(4 * time.Second)
	d.draw()
	for _, line := range terminal(out.String()) {
		if w := uniseg.StringWidth(line); w >= 40 {
			t.Errorf("%d columns: %q", w, line)
		}
	}
}

// More lines than the screen has do not move it.
func TestTTYHeight(t *testing.T) { synctest.Test(t, testTTYHeight) }

func testTTYHeight(t *testing.T) {
	d, out := display(TTY, 40, 3)
	for _, step := range []string{"a", "b", "c", "d"} {
		d.Show(Event{Step: step, Status: Working, Message: step})
	}
	if got := terminal(out.String()); len(got) != 2 {
		t.Errorf("%d lines on a screen of 3: %q", len(got), got)
	}
	for _, step := range []string{"a", "b", "c", "d"} {
		d.Show(Event{Step: step, Status: Done, Message: step})
	}
	d.Close()
	if got := terminal(out.String()); len(got) != 4 {
		t.Errorf("%d lines in the end, want 4: %q", len(got), got)
	}
}

func TestJSON(t *testing.T) { synctest.Test(t, testJSON) }

func testJSON(t *testing.T) {
	d, out := display(JSON, 0, 0)
	d.Show(Event{Instance: "a", Step: "engine", Status: Working, Message: "m", Otherwise: "o"})
	d.Show(Event{Instance: "a", Step: "engine", Status: Working, Message: "m"}) // no news
	time.Sleep(2 * time.Second)
	d.Fail("a", errors.New("<x>"))
	d.Fail("", errors.New("<x>"))
	want := `{"time":"2000-01-01T00:00:00Z","instance":"a","step":"engine","status":"working","message":"m","durationMs":0}
{"time":"2000-01-01T00:00:02Z","instance":"a","step":"engine","status":"failed","message":"o","durationMs":2000,"error":"<x>"}
`
	if out.String() != want {
		t.Errorf("%s, want %s", out, want)
	}
}

// The lines of several instances are in the instances' order, however their work overlaps.
func TestOrder(t *testing.T) {
	d, out := display(Plain, 0, 0)
	d.Several([]string{"a", "b", "c"})
	show := func(instance, message string) {
		d.Show(Event{Instance: instance, Step: "engine", Status: Done, Message: message})
	}
	show("c", "1")
	show("b", "1")
	show("a", "1")
	d.Ended("b")
	show("c", "2")
	if got := out.String(); got != "a: 1\n" {
		t.Errorf("while a works: %q", got)
	}
	d.Ended("a")
	show("c", "3")
	d.Ended("c")
	if got, want := out.String(), "a: 1\nb: 1\nc: 1\nc: 2\nc: 3\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestPlainAndQuiet(t *testing.T) {
	for mode, want := range map[string]string{Plain: "a: m\nset\n", Quiet: "set\n"} {
		d, out := display(mode, 0, 0)
		d.Several([]string{"a"})
		d.Show(Event{Instance: "a", Step: "engine", Status: Working, Message: "m"})
		d.Show(Event{Instance: "a", Step: "mirror", Status: Working, Message: "m", Live: true})
		d.Asked(Event{Instance: "a", Step: "set", Message: "set"})
		d.Fail("a", errors.New("x"))
		d.Close()
		if out.String() != want {
			t.Errorf("%s: %q, want %q", mode, out, want)
		}
	}
}

// Where lines stay, what is waited for is told once, and only if that takes long.
func TestPlainAndSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, out := display(Plain, 0, 0)
		waits := func(step, message string) {
			d.Show(Event{Instance: "a", Step: step, Status: Working, Message: message, Live: true})
		}
		waits("quick", "waits for a moment")
		waits("slow", "waits")
		d.Show(Event{Instance: "a", Step: "quick", Status: Done, Message: "quick"})
		time.Sleep(2 * time.Second)
		waits("slow", "waits for more")
		time.Sleep(2 * time.Second)
		waits("slow", "waits for much more")
		time.Sleep(time.Minute)
		waits("late", "waits to the end")
		d.Close()
		time.Sleep(time.Minute)
		if got, want := out.String(), "quick\nwaits for more\n"; got != want {
			t.Errorf("%q, want %q", got, want)
		}
	})
}

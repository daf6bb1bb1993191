// Package console reads the sessions that Markdown pages show, and holds what commands print
// against them, for the tests of the documentation.
//
// A session is a block of the language console. A line that begins with "$ " is a command, which
// goes on after a backslash; what follows is what it prints. A line "..." stands for any lines.
// Values that differ from run to run are compared by their kind: see [Match].
//
// What is not for readers is in comments: "<!-- test" begins a shell script, "<!-- file NAME -->"
// makes the next block a file, and "<!-- not run: WHY -->" says why the next block is neither
// run nor a file. There is no other block: what a page shows has been tried.
package console

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// A Step is a part of a page that something is done with: one of its fields is set.
type Step struct {
	Line    int // where it begins, from 1
	Command string
	Output  []string // of the command
	Script  string
	File    string // name
	Text    string // of the file
}

var fence = regexp.MustCompile("^```([a-z]*)$")

// Parse returns the steps of a page.
func Parse(page string) (steps []Step, err error) {
	lines := strings.Split(page, "\n")
	file, notRun := "", false
	for n := 0; n < len(lines); n++ {
		line, begin := strings.TrimLeft(lines[n], " "), n+1
		indent := strings.TrimSuffix(lines[n], line) // in a list
		until := func(end string) (text []string) {
			for n++; n < len(lines); n++ {
				if strings.TrimSpace(lines[n]) == end {
					return text
				}
				text = append(text, strings.TrimPrefix(lines[n], indent))
			}
			err = fmt.Errorf("line %d: it has no end", begin)
			return text
		}
		if name, ok := strings.CutPrefix(line, "<!-- file "); ok {
			file = strings.TrimSuffix(name, " -->")
			continue
		}
		if strings.HasPrefix(line, "<!-- not run: ") {
			notRun = true
			continue
		}
		if strings.HasPrefix(lines[n], "    ") && n > 0 && lines[n-1] == "" {
			return nil, fmt.Errorf("line %d: a block without a fence", begin)
		}
		if line == "<!-- test" {
			steps = append(steps, Step{Line: begin, Script: strings.Join(until("-->"), "\n") + "\n"})
			continue
		}
		m := fence.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		text := until("```")
		switch {
		case err != nil:
		case m[1] == "":
			err = fmt.Errorf("line %d: the block has no language", begin)
		case notRun:
		case file != "":
			steps = append(steps, Step{Line: begin, File: file, Text: strings.Join(text, "\n") + "\n"})
		case m[1] == "console":
			var more []Step
			if more, err = session(text, begin+1); err == nil {
				steps = append(steps, more...)
			}
		default:
			err = fmt.Errorf("line %d: the block is not run, and nothing says why", begin)
		}
		file, notRun = "", false
		if err != nil {
			return nil, err
		}
	}
	return steps, err
}

// session returns the commands of a console block whose first line has the given number.
func session(lines []string, first int) (steps []Step, err error) {
	for n := 0; n < len(lines); n++ {
		command, ok := strings.CutPrefix(lines[n], "$ ")
		switch {
		case ok:
			steps = append(steps, Step{Line: first + n, Command: command})
			for strings.HasSuffix(lines[n], `\`) && n+1 < len(lines) {
				n++
				steps[len(steps)-1].Command += "\n" + lines[n]
			}
		case len(steps) == 0:
			return nil, fmt.Errorf("line %d: the session does not begin with a command", first+n)
		default:
			last := &steps[len(steps)-1]
			last.Output = append(last.Output, lines[n])
		}
	}
	return steps, nil
}

// kinds are values that differ from run to run, the special ones first.
var kinds = []string{
	`[0-9a-f]{64}`, `[0-9a-f]{12}`,
	`[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+Z`,
	`(?:About an?|Less than an?|[0-9]+) (?:second|minute|hour|day|week|month)s?`,
	`(?:more than )?[0-9]+(?:\.[0-9]+)? ?(?:B|kB|MB|GB|KiB|MiB|GiB)\b`,
	`(?:[0-9]+m)?[0-9]+(?:\.[0-9]+)?m?s\b`,
	`v?[0-9]+\.[0-9]+\.[0-9]+(?:[-+][0-9A-Za-z.+-]*)?`,
	`[0-9]+\.[0-9]+(?:s|%)`,
	`[0-9]{5,}`,
}

var changing = regexp.MustCompile(strings.Join(kinds, "|"))

var blanks = regexp.MustCompile(`[ \t]+`)

// pattern returns what matches a line of a page.
func pattern(line string) string {
	var b strings.Builder
	add := func(text string) { b.WriteString(blanks.ReplaceAllString(regexp.QuoteMeta(text), " +")) }
	rest := strings.TrimRight(line, " ")
	for rest != "" {
		at := changing.FindStringIndex(rest)
		if at == nil {
			add(rest)
			break
		}
		add(rest[:at[0]])
		value := rest[at[0]:at[1]]
		for _, kind := range kinds {
			if regexp.MustCompile(`^(?:` + kind + `)$`).MatchString(value) {
				b.WriteString("(?:" + kind + ")")
				break
			}
		}
		rest = rest[at[1]:]
	}
	return b.String() + " *"
}

// Match returns an error unless a command has printed what a page shows. Numbers of bytes,
// times, durations, versions and ids match others of their kind, blanks any blanks, and steps
// that end one after the other come in any order.
func Match(want, got []string) error {
	for len(want) > 0 && strings.TrimSpace(want[len(want)-1]) == "" {
		want = want[:len(want)-1]
	}
	for len(got) > 0 && strings.TrimSpace(got[len(got)-1]) == "" {
		got = got[:len(got)-1]
	}
	want, got = inOrder(want), inOrder(got)
	var expr strings.Builder
	expr.WriteString("^")
	for _, line := range want {
		if strings.TrimSpace(line) == "..." {
			expr.WriteString("(?:.*\n)*")
			continue
		}
		expr.WriteString(pattern(line) + "\n")
	}
	text := strings.Join(got, "\n") + "\n"
	if len(got) == 0 {
		text = ""
	}
	if !regexp.MustCompile(expr.String() + "$").MatchString(text) {
		return fmt.Errorf("it printed\n%s\nthe page has\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	return nil
}

// inOrder sorts steps that end beside each other.
func inOrder(lines []string) []string {
	const done = " ✔ "
	lines = slices.Clone(lines)
	for begin := 0; begin < len(lines); begin++ {
		end := begin
		for end < len(lines) && strings.HasPrefix(lines[end], done) {
			end++
		}
		slices.Sort(lines[begin:end])
		begin = max(begin, end-1)
	}
	return lines
}

package output

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"text/template"
	"unicode/utf8"

	"github.com/docker/cli/cli/command/formatter"
	"github.com/docker/cli/templates"
)

// A Stream prints rows as they come; docker's formatter needs all at once. A table has one
// header, and its columns are as wide as they had to be so far.
type Stream[T formatter.SubContext] struct {
	w      io.Writer
	o      Options
	format formatter.Format
	empty  T
	tmpl   *template.Template
	widths []int
}

// NewStream returns a stream of rows of the type of empty. Widest are the longest possible cells
// of the first columns of a plain table, as far as they are known.
func NewStream[T formatter.SubContext](w io.Writer, o Options, l Layout, empty T, widest ...string) *Stream[T] {
	s := &Stream[T]{w: w, o: o, format: o.format(l), empty: empty}
	if o.IsTable() && !o.Quiet {
		for _, cell := range widest {
			s.widths = append(s.widths, utf8.RuneCountInString(cell)+gap)
		}
	}
	return s
}

// WriteRows prints rows to s, and the header before the first.
func (s *Stream[T]) WriteRows(rows []T) error {
	if s.o.IsJSON() {
		return WriteJSONLines(s.w, rows)
	}
	var lines []string
	if s.tmpl == nil {
		header, err := s.begin()
		if err != nil {
			return badFormat(s.o.Format, s.empty, err)
		}
		if s.format.IsTable() {
			lines = append(lines, header)
		}
	}
	var line bytes.Buffer
	for _, r := range rows {
		line.Reset()
		if err := s.tmpl.Execute(&line, r); err != nil {
			return badFormat(s.o.Format, s.empty, err)
		}
		lines = append(lines, line.String())
	}
	if s.format.IsTable() {
		lines = s.align(lines)
	}
	for _, l := range lines {
		if _, err := fmt.Fprintln(s.w, l); err != nil {
			return err
		}
	}
	return nil
}

// begin parses and tries the template, and returns the header.
func (s *Stream[T]) begin() (string, error) {
	text := string(s.format)
	if s.format.IsTable() {
		text = strings.TrimPrefix(text, formatter.TableFormatKey)
	}
	text = strings.NewReplacer(`\t`, "\t", `\n`, "\n").Replace(strings.Trim(text, " "))
	tmpl, err := templates.Parse(text)
	if err != nil {
		return "", err
	}
	if err := tmpl.Execute(io.Discard, s.empty); err != nil {
		return "", err
	}
	s.tmpl = tmpl
	clone, err := tmpl.Clone()
	if err != nil {
		return "", err
	}
	var header strings.Builder
	err = clone.Funcs(templates.HeaderFunctions).Execute(&header, s.empty.FullHeader())
	return header.String(), err
}

const (
	minColumn = 10 // as in docker's tables
	gap       = 3
)

func (s *Stream[T]) align(lines []string) []string {
	cells := make([][]string, len(lines))
	for i, l := range lines {
		cells[i] = strings.Split(l, "\t")
		for n, cell := range cells[i][:len(cells[i])-1] {
			if n == len(s.widths) {
				s.widths = append(s.widths, minColumn)
			}
			s.widths[n] = max(s.widths[n], utf8.RuneCountInString(cell)+gap)
		}
	}
	for i, row := range cells {
		var b strings.Builder
		for n, cell := range row {
			b.WriteString(cell)
			if n < len(row)-1 {
				b.WriteString(strings.Repeat(" ", s.widths[n]-utf8.RuneCountInString(cell)))
			}
		}
		lines[i] = b.String()
	}
	return lines
}

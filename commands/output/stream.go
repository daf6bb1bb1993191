package output

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"reflect"
	"strings"
	"text/template"
	"unicode"
	"unicode/utf8"

	"github.com/docker/cli/cli/command/formatter"
	"github.com/docker/cli/templates"
	"github.com/rivo/uniseg"
)

// A Stream prints rows as they come, in the formats of docker's formatter, which needs all at
// once. A table has one header, and its columns are as wide as they had to be so far.
type Stream[T any] struct {
	w      io.Writer
	o      Options
	format formatter.Format
	titles map[string]string
	empty  T
	tmpl   *template.Template
	widths []int
}

// NewStream returns a stream of rows of the type of empty, on which a template is tried.
func NewStream[T any](w io.Writer, o Options, l Layout, empty T) *Stream[T] {
	return &Stream[T]{w: w, o: o, format: o.format(l), titles: l.Titles, empty: empty}
}

// WriteRows prints rows to s, and the header before the first.
func (s *Stream[T]) WriteRows(rows []T) error {
	if s.o.IsJSON() {
		return s.writeJSON(rows)
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
		lines = append(lines, strings.Split(line.String(), "\n")...)
	}
	if s.format.IsTable() {
		lines = s.align(lines)
	}
	if len(lines) == 0 {
		return nil
	}
	_, err := io.WriteString(s.w, strings.Join(lines, "\n")+"\n")
	return err
}

// writeJSON prints one JSON line for each row, like docker's "json".
func (s *Stream[T]) writeJSON(rows []T) error {
	buffer := bufio.NewWriterSize(s.w, 64<<10)
	enc := json.NewEncoder(buffer)
	enc.SetEscapeHTML(false)
	for _, row := range rows {
		if err := enc.Encode(row); err != nil {
			return err
		}
	}
	return buffer.Flush()
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
	titles := formatter.SubHeaderContext{}
	for _, name := range columns(reflect.TypeOf(s.empty)) {
		titles[name] = title(name)
	}
	maps.Copy(titles, s.titles)
	var header strings.Builder
	_ = clone.Funcs(templates.HeaderFunctions).Execute(&header, titles) // as docker: what fits no title ends it
	return header.String(), nil
}

// title returns the title of a field's column: "CREATED AT" for CreatedAt.
func title(name string) string {
	var b strings.Builder
	last := ' '
	for _, r := range name {
		if unicode.IsUpper(r) && unicode.IsLower(last) {
			b.WriteByte(' ')
		}
		b.WriteRune(unicode.ToUpper(r))
		last = r
	}
	return b.String()
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
			s.widths[n] = max(s.widths[n], displayWidth(cell)+gap)
		}
	}
	for i, row := range cells {
		var b strings.Builder
		for n, cell := range row {
			b.WriteString(cell)
			if n < len(row)-1 {
				b.WriteString(strings.Repeat(" ", s.widths[n]-displayWidth(cell)))
			}
		}
		lines[i] = b.String()
	}
	return lines
}

// displayWidth returns how many columns of a terminal a text takes: quickly, where it is ASCII.
func displayWidth(text string) int {
	if strings.ContainsFunc(text, func(r rune) bool { return r >= utf8.RuneSelf }) {
		return uniseg.StringWidth(text)
	}
	return len(text)
}

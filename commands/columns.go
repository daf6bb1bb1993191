package commands

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"text/template"
	"unicode/utf8"

	"github.com/docker/cli/cli/command/formatter"
	"github.com/docker/cli/templates"

	"github.com/docker-rd/docker-rd/internal/failure"
	"github.com/docker-rd/docker-rd/mirror/state"
)

// columns prints rows as they come, where docker's formatter must know all of them. A
// table has its header once; its columns are as wide as they had to be so far.
type columns struct {
	w      io.Writer
	format string
	json   bool
	table  bool
	kind   *kind
	tmpl   *template.Template
	widths []int
}

func newColumns(w io.Writer, o listOptions, k *kind) *columns {
	table := k.table
	var widths []int
	if o.format == formatter.TableFormatKey && !o.quiet {
		table = "{{.Event}}\t" + table
		widths = []int{len(state.Modified) + gap} // the longest that can come
	}
	format := o.template(table, k.key)
	return &columns{
		w: w, kind: k, format: format, widths: widths,
		json:  format == formatter.JSONFormatKey,
		table: formatter.Format(format).IsTable(),
	}
}

// write prints rows, and the header before the first.
func (c *columns) write(rows []row) error {
	if c.json {
		return writeJSONLines(c.w, rows)
	}
	var lines []string
	if c.tmpl == nil {
		header, err := c.begin()
		if err != nil {
			return failure.Refuse("format %q: %w", c.format, err)
		}
		if c.table {
			lines = append(lines, header)
		}
	}
	var line bytes.Buffer
	for _, r := range rows {
		line.Reset()
		if err := c.tmpl.Execute(&line, r); err != nil {
			return failure.Refuse("format %q: %w", c.format, err)
		}
		lines = append(lines, line.String())
	}
	if c.table {
		lines = c.align(lines)
	}
	for _, l := range lines {
		if _, err := fmt.Fprintln(c.w, l); err != nil {
			return err
		}
	}
	return nil
}

// begin parses the template, tries it, and returns the header.
func (c *columns) begin() (string, error) {
	text := c.format
	if c.table {
		text = strings.TrimPrefix(text, formatter.TableFormatKey)
	}
	text = strings.NewReplacer(`\t`, "\t", `\n`, "\n").Replace(strings.Trim(text, " "))
	tmpl, err := templates.Parse(text)
	if err != nil {
		return "", err
	}
	if err := tmpl.Execute(io.Discard, c.kind.empty); err != nil {
		return "", err
	}
	c.tmpl = tmpl
	clone, err := tmpl.Clone()
	if err != nil {
		return "", err
	}
	var header strings.Builder
	err = clone.Funcs(templates.HeaderFunctions).Execute(&header, c.kind.empty.FullHeader())
	return header.String(), err
}

const (
	minColumn = 10 // as in docker's tables
	gap       = 3
)

func (c *columns) align(lines []string) []string {
	cells := make([][]string, len(lines))
	for i, l := range lines {
		cells[i] = strings.Split(l, "\t")
		for n, cell := range cells[i][:len(cells[i])-1] {
			if n == len(c.widths) {
				c.widths = append(c.widths, minColumn)
			}
			c.widths[n] = max(c.widths[n], utf8.RuneCountInString(cell)+gap)
		}
	}
	for i, row := range cells {
		var b strings.Builder
		for n, cell := range row {
			b.WriteString(cell)
			if n < len(row)-1 {
				b.WriteString(strings.Repeat(" ", c.widths[n]-utf8.RuneCountInString(cell)))
			}
		}
		lines[i] = b.String()
	}
	return lines
}

package commands

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"

	"github.com/docker/cli/cli/command/formatter"
	"github.com/docker/cli/templates"
	"github.com/spf13/cobra"

	"github.com/docker-rd/docker-rd/internal/failure"
)

// listOptions are the flags of whatever prints rows, as docker's lists have them.
type listOptions struct {
	format string
	quiet  bool
}

func (o *listOptions) addTo(cmd *cobra.Command) {
	o.addFormat(cmd)
	cmd.Flags().BoolVarP(&o.quiet, "quiet", "q", false, "Print the keys only")
}

func (o *listOptions) addFormat(cmd *cobra.Command) {
	cmd.Flags().StringVar(&o.format, "format", "table", `Format of the output: "table", "table TEMPLATE", "json" or a Go template`)
	_ = cmd.RegisterFlagCompletionFunc("format", cobra.FixedCompletions([]string{"table", "json"}, cobra.ShellCompDirectiveNoFileComp))
}

// writeRows prints rows as docker prints lists. Table is what a plain "table" shows,
// key what --quiet shows. A zero T must do as a row.
func writeRows[T formatter.SubContext](w io.Writer, o listOptions, table, key string, rows []T) error {
	var empty T
	return writeRowsLike(w, o, table, key, empty, rows)
}

// writeRowsLike is writeRows for rows of an interface type, all of the type of empty.
func writeRowsLike[T formatter.SubContext](w io.Writer, o listOptions, table, key string, empty formatter.SubContext, rows []T) error {
	format := o.template(table, key)
	if format == formatter.JSONFormatKey {
		return writeJSONLines(w, rows)
	}
	ctx := formatter.Context{Output: io.Discard, Format: formatter.Format(format)}
	// A template must be right also where there is no row to show it.
	err := ctx.Write(empty, func(write func(formatter.SubContext) error) error { return write(empty) })
	if err == nil {
		ctx.Output = w
		err = ctx.Write(empty, func(write func(formatter.SubContext) error) error {
			for _, row := range rows {
				if err := write(row); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err != nil {
		return failure.Refuse("format %q: %w", o.format, err)
	}
	return nil
}

// template returns the format in docker's form.
func (o listOptions) template(table, key string) string {
	switch {
	case o.quiet && o.format != formatter.JSONFormatKey:
		return key
	case o.format == formatter.TableFormatKey || o.format == "":
		return "table " + table
	}
	return o.format
}

// writeJSONLines prints one JSON line for each row: what docker does for "json", but
// without a template.
func writeJSONLines[T any](w io.Writer, rows []T) error {
	buffer := bufio.NewWriterSize(w, 64<<10)
	enc := json.NewEncoder(buffer)
	enc.SetEscapeHTML(false)
	for _, row := range rows {
		if err := enc.Encode(row); err != nil {
			return err
		}
	}
	return buffer.Flush()
}

// writeObject prints one object: as indented JSON for "json", through a template, or
// as people prints it for "table".
func writeObject(w io.Writer, format string, object any, people func(io.Writer) error) error {
	switch format {
	case "table", "":
		return people(w)
	case "json":
		enc := json.NewEncoder(w)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		return enc.Encode(object)
	}
	tmpl, err := templates.Parse(format)
	if err != nil {
		return failure.Refuse("format %q: %w", format, err)
	}
	if err := tmpl.Execute(w, object); err != nil {
		return failure.Refuse("format %q: %w", format, err)
	}
	_, err = fmt.Fprintln(w)
	return err
}

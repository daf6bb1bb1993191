package commands

import (
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

// writeRows prints rows as docker prints lists. Header belongs to a row of the same
// type; table is what a plain "table" shows, key what --quiet shows.
func writeRows[T formatter.SubContext](w io.Writer, o listOptions, table, key string, rows []T) error {
	format := o.format
	switch {
	case o.quiet && format != "json":
		format = key
	case format == "table" || format == "":
		format = "table " + table
	}
	var header T
	ctx := formatter.Context{Output: w, Format: formatter.Format(format)}
	err := ctx.Write(header, func(write func(formatter.SubContext) error) error {
		for _, row := range rows {
			if err := write(row); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return failure.Refuse("format %q: %w", o.format, err)
	}
	return nil
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

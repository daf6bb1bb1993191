// Package output prints the output of commands in the formats of docker's --format: a table, JSON
// or a Go template.
package output

import (
	"encoding/json"
	"io"

	"github.com/docker/cli/cli/command/formatter"
	"github.com/docker/cli/cli/flags"
	"github.com/spf13/cobra"
)

// Options are the flags of docker's lists.
type Options struct {
	Format string
	Quiet  bool
}

// AddFlags adds the flags of a list; keys are what --quiet shows.
func (o *Options) AddFlags(cmd *cobra.Command, keys string) {
	o.addFormat(cmd, flags.FormatHelp, formatter.TableFormatKey, formatter.JSONFormatKey)
	cmd.Flags().BoolVarP(&o.Quiet, "quiet", "q", false, "Only display "+keys)
}

// AddFormat adds the flag of a command that prints one object.
func (o *Options) AddFormat(cmd *cobra.Command) {
	o.addFormat(cmd, flags.InspectFormatHelp, formatter.JSONFormatKey)
}

func (o *Options) addFormat(cmd *cobra.Command, help string, words ...string) {
	cmd.Flags().StringVar(&o.Format, "format", "", help)
	_ = cmd.RegisterFlagCompletionFunc("format", cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp))
}

// IsTable reports whether the output is for people.
func (o Options) IsTable() bool { return o.Format == formatter.TableFormatKey || o.Format == "" }

// IsJSON reports whether the output is JSON, which --quiet does not change.
func (o Options) IsJSON() bool { return o.Format == formatter.JSONFormatKey }

// A Layout is what a list shows without a template.
type Layout struct {
	Table string // template of a table's columns
	Key   string // template of what --quiet shows
	// Titles has the titles of columns that are not called like their field.
	Titles map[string]string
}

// format returns the format in docker's form.
func (o Options) format(l Layout) formatter.Format {
	switch {
	case o.Quiet && !o.IsJSON():
		return formatter.Format(l.Key)
	case o.IsTable():
		return formatter.Format("table " + l.Table)
	}
	return formatter.Format(o.Format)
}

// WriteRows prints rows as docker prints lists. It first tries a template on the zero value of T,
// which must be valid.
func WriteRows[T any](w io.Writer, o Options, l Layout, rows []T) error {
	var empty T
	return NewStream(w, o, l, empty).WriteRows(rows)
}

// WriteJSON prints a value as indented JSON.
func WriteJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// WriteObject prints one object: as indented JSON, through a template, or, for a table, by people.
func WriteObject(w io.Writer, o Options, object any, people func(io.Writer) error) error {
	switch {
	case o.IsTable():
		return people(w)
	case o.IsJSON():
		return WriteJSON(w, object)
	}
	return NewStream(w, o, Layout{}, object).WriteRows([]any{object})
}

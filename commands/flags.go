package commands

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// flagDuration is the value of a time limit: not negative.
type flagDuration struct{ d time.Duration }

func (f *flagDuration) String() string { return f.d.String() }
func (f *flagDuration) Type() string   { return "duration" }
func (f *flagDuration) Set(s string) error {
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		return fmt.Errorf("not a time such as 30s or 2m")
	}
	f.d = d
	return nil
}

// addTimeout adds --timeout with a default.
func addTimeout(flags *pflag.FlagSet, value *flagDuration, fallback time.Duration) {
	value.d = fallback
	flags.Var(value, "timeout", "How long to wait (0: for ever)")
}

// flagChoice is the value of a flag that takes one of a few words.
type flagChoice struct {
	value   string
	choices []string
}

func (f *flagChoice) String() string { return f.value }
func (f *flagChoice) Type() string   { return strings.Join(f.choices, "|") }
func (f *flagChoice) Set(s string) error {
	if !slices.Contains(f.choices, s) {
		return fmt.Errorf("it can be %s", strings.Join(f.choices, ", "))
	}
	f.value = s
	return nil
}

// addChoice adds a flag that takes one of a few words and completes them.
func addChoice(cmd *cobra.Command, value *flagChoice, name, fallback, usage string, choices ...string) {
	*value = flagChoice{value: fallback, choices: choices}
	cmd.Flags().Var(value, name, usage)
	_ = cmd.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(choices, cobra.ShellCompDirectiveNoFileComp))
}

package commands

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/docker-rd/docker-rd/internal/failure"
)

// many means no limit in [takes].
const many = -1

// takes checks the number of arguments.
func takes(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		n := len(args)
		if n >= least && (most == many || n <= most) {
			return nil
		}
		name := nameOf(cmd)
		if most == 0 {
			return failure.Usage("%s takes no argument, but got %q", name, args[0])
		}
		limit, bound := "", least
		switch {
		case least == most:
		case n < least:
			limit = "at least "
		default:
			limit, bound = "at most ", most
		}
		plural := "s"
		if bound == 1 {
			plural = ""
		}
		return failure.Usage("%s takes %s%d argument%s, but got %d", name, limit, bound, plural, n)
	}
}

// nameOf returns the name of a command, with its group's.
func nameOf(cmd *cobra.Command) string {
	_, name, _ := strings.Cut(cmd.CommandPath(), " rd ")
	return name
}

// exclusive refuses more than one of the flags.
func exclusive(cmd *cobra.Command, names ...string) error {
	given := ""
	for _, name := range names {
		switch {
		case !cmd.Flags().Changed(name):
		case given != "":
			return failure.Usage("--%s and --%s exclude each other", given, name)
		default:
			given = name
		}
	}
	return nil
}

// flagDuration is the value of a time limit, which is not negative.
type flagDuration struct {
	d     time.Duration
	given bool
}

func (f *flagDuration) String() string { return f.d.String() }
func (f *flagDuration) Type() string   { return "duration" }
func (f *flagDuration) Set(s string) error {
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		return fmt.Errorf("not a time such as 30s or 2m")
	}
	f.d, f.given = d, true
	return nil
}

// addTimeout adds --timeout with a default.
func addTimeout(flags *pflag.FlagSet, value *flagDuration, fallback time.Duration) {
	value.d = fallback
	flags.Var(value, "timeout", "How long to wait (0: no limit)")
}

// flagRevision is the value of a flag that takes a revision of the state file.
type flagRevision uint64

func (f *flagRevision) String() string { return strconv.FormatUint(uint64(*f), 10) }
func (f *flagRevision) Type() string   { return "revision" }
func (f *flagRevision) Set(s string) error {
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		return fmt.Errorf("not a revision such as 42")
	}
	*f = flagRevision(n)
	return nil
}

// flagChoice is the value of a flag that takes one of some words.
type flagChoice struct {
	value   string
	choices []string
}

func (f *flagChoice) String() string { return f.value }
func (f *flagChoice) Type() string   { return "string" }
func (f *flagChoice) Set(s string) error {
	if !slices.Contains(f.choices, s) {
		return fmt.Errorf("it can be %s", strings.Join(f.choices, ", "))
	}
	f.value = s
	return nil
}

// addChoice adds a flag that takes and completes one of some words.
func addChoice(cmd *cobra.Command, value *flagChoice, name, fallback, usage string, choices ...string) {
	*value = flagChoice{value: fallback, choices: choices}
	cmd.Flags().Var(value, name, usage+" ("+quoted(choices)+")")
	completeFlag(cmd, name, choices...)
}

// quoted lists choices as docker's help does.
func quoted(choices []string) string {
	words := make([]string, len(choices))
	for i, c := range choices {
		words[i] = strconv.Quote(c)
	}
	return strings.Join(words, ", ")
}

// flagTail is the value of docker's --tail: a number of lines, or "all".
type flagTail struct{ lines int } // negative: all

func (f *flagTail) Type() string { return "string" }
func (f *flagTail) String() string {
	if f.lines < 0 {
		return "all"
	}
	return strconv.Itoa(f.lines)
}

func (f *flagTail) Set(s string) error {
	if s == "all" {
		f.lines = -1
		return nil
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		return fmt.Errorf(`not a number of lines or "all"`)
	}
	f.lines = n
	return nil
}

// completeFlag completes a flag's value with words.
func completeFlag(cmd *cobra.Command, name string, words ...string) {
	_ = cmd.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp))
}

// completeFile completes a flag's value with file names. Docker's root command turns that off.
func completeFile(cmd *cobra.Command, name string) {
	_ = cmd.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(nil, cobra.ShellCompDirectiveDefault))
}

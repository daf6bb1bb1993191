package commands

import (
	"errors"
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

// A flagValue is the value of a flag that a function parses.
type flagValue[T any] struct {
	value T
	given bool
	kind  string // for the help
	parse func(string) (T, error)
}

func (f *flagValue[T]) String() string { return fmt.Sprint(f.value) }
func (f *flagValue[T]) Type() string   { return f.kind }
func (f *flagValue[T]) Set(s string) error {
	value, err := f.parse(s)
	if err == nil {
		f.value, f.given = value, true
	}
	return err
}

// asIs leaves it to others to check a value.
func asIs(s string) (string, error) { return s, nil }

func addTimeout(flags *pflag.FlagSet, value *flagValue[time.Duration], fallback time.Duration, usage string) {
	*value = flagValue[time.Duration]{value: fallback, kind: "duration", parse: func(s string) (time.Duration, error) {
		d, err := time.ParseDuration(s)
		if err != nil || d < 0 {
			return 0, errors.New("not a time such as 30s or 2m")
		}
		return d, nil
	}}
	flags.Var(value, "timeout", usage)
}

// noLimit is the usage of a --timeout that 0 switches off.
const noLimit = "How long to wait (0: no limit)"

// addChoice adds a flag that takes and completes one of some words.
func addChoice(cmd *cobra.Command, value *flagValue[string], name, fallback, usage string, choices ...string) {
	*value = flagValue[string]{value: fallback, kind: "string", parse: func(s string) (string, error) {
		if !slices.Contains(choices, s) {
			return "", fmt.Errorf("it can be %s", strings.Join(choices, ", "))
		}
		return s, nil
	}}
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

// described returns a completion with what is said about it.
func described(word, about string) string {
	if about == "" {
		return word
	}
	return cobra.CompletionWithDesc(word, about)
}

// completing completes what words returns, without files. After words that go on, such as "KEY=", no
// space follows.
func completing(words func(args []string, word string) []string) cobra.CompletionFunc {
	return func(_ *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
		found := words(args, word)
		if slices.ContainsFunc(found, goesOn) {
			return found, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
		}
		return found, cobra.ShellCompDirectiveNoFileComp
	}
}

func goesOn(completion string) bool {
	word, _, _ := strings.Cut(completion, "\t")
	return strings.HasSuffix(word, "=") || strings.HasSuffix(word, containerPrefix)
}

// completeFlag completes a flag's value with some words.
func completeFlag(cmd *cobra.Command, name string, words ...string) {
	_ = cmd.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp))
}

// completeFile completes a flag's value with file names. Docker's root command turns that off.
func completeFile(cmd *cobra.Command, name string) {
	_ = cmd.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(nil, cobra.ShellCompDirectiveDefault))
}

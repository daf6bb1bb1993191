package plugin

import (
	"slices"
	"strings"

	"github.com/docker/cli/cli-plugins/metadata"
	cliflags "github.com/docker/cli/cli/flags"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// pluginArgs turns `docker-rd [docker's global options] start …` into docker's call of the plugin, with
// its name before its own arguments. A completing shell puts its request in front. Docker's own calls
// stay as they are; that byDocker is set does not suffice: another plugin may have run this program.
func pluginArgs(args []string, byDocker bool) []string {
	i := 1
	completing := false
	if len(args) > 1 {
		switch args[1] {
		case metadata.MetadataSubcommandName:
			return args
		case cobra.ShellCompRequestCmd, cobra.ShellCompNoDescRequestCmd:
			completing, i = true, 2
		}
	}
	global := pflag.NewFlagSet("docker", pflag.ContinueOnError)
	cliflags.NewClientOptions().InstallFlags(global)
	for n := -1; n != 0 && i < len(args); i += n {
		n = optionLength(global, args[i:])
	}
	switch words := args[min(i, len(args)):]; {
	case i > len(args), completing && len(words) == 0: // an option lacks its value, or is being completed
		return args
	case byDocker && len(words) > 0 && (words[0] == Name || words[0] == "help" && slices.Contains(words[1:], Name)):
		return args
	}
	return slices.Insert(slices.Clone(args), i, Name)
}

// optionLength returns how many arguments an option at their beginning takes, 0 if there is none of these
// flags.
func optionLength(flags *pflag.FlagSet, args []string) int {
	const withValue = 2 // the next argument
	if name, ok := strings.CutPrefix(args[0], "--"); ok {
		name, _, valued := strings.Cut(name, "=")
		switch flag := flags.Lookup(name); {
		case flag == nil:
			return 0
		case valued || flag.NoOptDefVal != "":
			return 1
		}
		return withValue
	}
	letters, ok := strings.CutPrefix(args[0], "-")
	if !ok || letters == "" {
		return 0
	}
	for k := range letters {
		switch flag := flags.ShorthandLookup(letters[k : k+1]); {
		case flag == nil:
			return 0
		case k+1 == len(letters) && flag.NoOptDefVal == "":
			return withValue
		case flag.NoOptDefVal == "" || strings.HasPrefix(letters[k+1:], "="):
			return 1 // the rest is its value
		}
	}
	return 1
}

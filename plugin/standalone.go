package plugin

import (
	"slices"
	"strings"

	cliflags "github.com/docker/cli/cli/flags"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// standaloneArgs turns `docker-rd [docker's global options] start …` into docker's call of the
// plugin, with its name before its own arguments. A completing shell puts its request in front.
func standaloneArgs(args []string) []string {
	i := 1
	completing := len(args) > 1 && (args[1] == cobra.ShellCompRequestCmd || args[1] == cobra.ShellCompNoDescRequestCmd)
	if completing {
		i = 2
	}
	global := pflag.NewFlagSet("docker", pflag.ContinueOnError)
	cliflags.NewClientOptions().InstallFlags(global)
	for i < len(args) {
		name, value := splitFlag(args[i])
		flag := lookup(global, name)
		if flag == nil {
			break
		}
		i++
		if !value && flag.NoOptDefVal == "" && i < len(args) {
			i++ // its value is the next argument
		}
	}
	if completing && i == len(args) {
		return args // a global option is being completed
	}
	return slices.Insert(slices.Clone(args), i, Name)
}

// splitFlag returns the name of a flag with its dashes, and whether the argument has its value.
func splitFlag(arg string) (name string, value bool) {
	if strings.HasPrefix(arg, "--") {
		name, _, value = strings.Cut(arg, "=")
		return name, value
	}
	if strings.HasPrefix(arg, "-") && len(arg) > 2 {
		return arg[:2], true
	}
	return arg, false
}

func lookup(flags *pflag.FlagSet, name string) *pflag.Flag {
	switch {
	case strings.HasPrefix(name, "--") && len(name) > 2:
		return flags.Lookup(name[2:])
	case strings.HasPrefix(name, "-") && len(name) == 2:
		return flags.ShorthandLookup(name[1:])
	}
	return nil
}

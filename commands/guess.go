package commands

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/docker-rd/docker-rd/internal/nearest"
)

// guesses map words of other programs to our commands.
var guesses = map[string]string{
	"ps":         "get containers",
	"container":  "get containers",
	"containers": "get containers",
	"images":     "get images",
	"image":      "get images",
	"volume":     "get volumes",
	"volumes":    "get volumes",
	"network":    "get networks",
	"networks":   "get networks",
	"exec":       "run -- docker exec",
	"build":      "run -- docker build",
	"pull":       "run -- docker pull",
	"compose":    "run -- docker compose",
	"docker":     "run -- docker",
	"sh":         "shell",
	"bash":       "shell",
	"ssh":        "shell",
	"enter":      "shell",
	"cp":         "cp-image",
	"events":     "watch",
	"stats":      "run -- docker stats",
	"inspect":    "status",
	"info":       "status",
	"show":       "status",
	"describe":   "status",
	"health":     "status",
	"instances":  "ls",
	"config":     "set",
	"configure":  "set",
	"edit":       "set",
	"update":     "set",
	"settings":   "set",
	"log":        "logs",
	"up":         "start",
	"create":     "start",
	"new":        "start",
	"init":       "start",
	"add":        "start",
	"launch":     "start",
	"down":       "stop",
	"halt":       "stop",
	"shutdown":   "stop",
	"kill":       "stop --force",
	"quit":       "stop",
	"reboot":     "restart",
	"reload":     "restart",
	"destroy":    "rm",
	"uninstall":  "rm",
	"path":       "paths",
	"socket":     "paths socket",
	"use":        "context promote",
	"switch":     "context promote",
	"select":     "context promote",
	"activate":   "context promote",
	"default":    "context promote",
	"contexts":   "context ls",
	"current":    "context ls",
	"doctor":     "context doctor",
	"fix":        "context doctor --fix",
	"bugreport":  "diagnose",
	"refresh":    "sync",
	"update-env": "env",
	"docker-env": "env",

	"context use":     "context promote",
	"context switch":  "context promote",
	"context set":     "context promote",
	"context show":    "context ls",
	"context inspect": "context probe",
	"context check":   "context probe",
	"context test":    "context probe",
	"context reset":   "context demote",
	"context unset":   "context demote",
	"context restore": "context demote",
	"context fix":     "context doctor --fix",
}

// drastic are the commands that end or remove something. They are suggested only if nothing
// else is near and no letter is replaced: "step" is not "stop".
var drastic = []string{"stop", "restart", "rm", "delete", "action", "demote"}

// Suggest returns commands, to be typed after docker-rd, that an unknown word below parent may
// have meant.
func Suggest(parent *cobra.Command, word string) []string {
	prefix := ""
	if _, group, ok := strings.Cut(parent.CommandPath(), " rd "); ok {
		prefix = group + " "
	}
	if guess, ok := guesses[prefix+word]; ok {
		return []string{guess}
	}
	var harmless, others []string
	for _, cmd := range parent.Commands() {
		switch {
		case !cmd.IsAvailableCommand():
		case slices.Contains(drastic, cmd.Name()):
			if len(word) != len(cmd.Name()) || sameLetters(word, cmd.Name()) {
				others = append(others, cmd.Name())
			}
		default:
			harmless = append(harmless, cmd.Name())
		}
	}
	found := nearest.To(word, harmless)
	if len(found) == 0 {
		found = nearest.To(word, others)
	}
	for i := range found {
		found[i] = prefix + found[i]
	}
	return found
}

func sameLetters(a, b string) bool {
	x, y := []byte(a), []byte(b)
	slices.Sort(x)
	slices.Sort(y)
	return string(x) == string(y)
}

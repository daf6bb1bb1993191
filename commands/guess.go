package commands

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/docker-rd/docker-rd/internal/nearest"
)

// guesses map words that people know from docker and other programs to our commands.
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
	"rd":         "--help",
	"ssh":        "shell",
	"cp":         "cp-image",
	"events":     "watch",
	"inspect":    "status",
	"info":       "status",
	"config":     "set",
	"up":         "start",
	"create":     "start",
	"down":       "stop",
	"kill":       "stop --force",
	"use":        "context promote",
	"contexts":   "context ls",
	"doctor":     "context doctor",

	"context use":     "context promote",
	"context show":    "context ls",
	"context inspect": "context probe",
}

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
	var names []string
	for _, cmd := range parent.Commands() {
		if cmd.IsAvailableCommand() {
			names = append(names, cmd.Name())
		}
	}
	found := nearest.To(word, names)
	for i := range found {
		found[i] = prefix + found[i]
	}
	return found
}

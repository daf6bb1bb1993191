// Command docker-rd is what scripts run: the program, with errors that they can look at.
package main

import (
	"github.com/docker-rd/docker-rd/internal/test/shown"
	"github.com/docker-rd/docker-rd/plugin"
)

func main() {
	plugin.Shown = shown.Note
	plugin.Main()
}

// Command docker-rd is what scripts run: the program, with errors that they can look at, and a
// context "default" that leads to a host of theirs.
package main

import (
	"cmp"
	"os"

	"github.com/docker-rd/docker-rd/internal/endpoint"
	"github.com/docker-rd/docker-rd/internal/test/shown"
	"github.com/docker-rd/docker-rd/plugin"
)

func main() {
	plugin.Shown = shown.Note
	endpoint.DefaultHost = cmp.Or(os.Getenv(shown.DefaultHostEnv), endpoint.DefaultHost)
	plugin.Main()
}

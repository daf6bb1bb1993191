package commands

import (
	"testing"

	"github.com/docker-rd/docker-rd/commands/output"
)

// A whole row has the disk usage too.
func TestShowsDisk(t *testing.T) {
	for format, want := range map[string]bool{
		"": true, "json": true, "{{.Disk}}": true, "{{json .}}": true, "{{json . | len}}": true, "{{.}}": true, "{{with .}}{{.Name}}{{end}}": true,
		"{{.Name}}": false, "{{.Name}} {{json .Host}}": false,
	} {
		if got := showsDisk(output.Options{Format: format}); got != want {
			t.Errorf("%q: %v", format, got)
		}
	}
}

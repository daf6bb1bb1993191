package main

import (
	"testing"

	"github.com/docker-rd/docker-rd/internal/test/asuser"
)

// The scripts of engines, for an ordinary user's.
func TestScriptEngineAsUser(t *testing.T) {
	asuser.Rerun(t, "^TestScriptEngine$", asuser.Machine{})
}

package main

import (
	"testing"

	"github.com/docker-rd/docker-rd/internal/test/asuser"
)

func TestScriptEngineAsUser(t *testing.T) { asuser.Rerun(t, "^TestScriptEngine$") }

func TestScriptContainerdAsUser(t *testing.T) {
	asuser.Rerun(t, "^TestScriptContainerd$")
}

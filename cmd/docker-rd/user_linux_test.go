package main

import (
	"maps"
	"regexp"
	"slices"
	"testing"

	"github.com/docker-rd/docker-rd/internal/test/asuser"
)

// The scripts of engines, for an ordinary user's. What differs by docker's version does not
// differ by the driver: the newest is enough.
func TestScriptEngineAsUser(t *testing.T) {
	versions := slices.Sorted(maps.Keys(dockerCLIs()))
	if len(versions) == 0 {
		t.Fatal("no docker command is installed")
	}
	asuser.Rerun(t, "^TestScriptEngine$/^("+regexp.QuoteMeta(versions[len(versions)-1])+"|kinds)$")
}

func TestScriptContainerdAsUser(t *testing.T) {
	asuser.Rerun(t, "^TestScriptContainerd$")
}

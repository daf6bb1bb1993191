package main

import (
	"os"
	"os/exec"
	"testing"

	"github.com/docker-rd/docker-rd/internal/test/asuser"
)

func TestScriptEngineAsUser(t *testing.T) { rerunAsUser(t, "^TestScriptEngine$") }

func TestScriptContainerdAsUser(t *testing.T) { rerunAsUser(t, "^TestScriptContainerd$") }

func TestHintsAsUser(t *testing.T) { rerunAsUser(t, "^TestHints$/^script$/^engine$") }

func TestScriptNerdctlAsUser(t *testing.T) {
	if os.Getenv("NERDCTL") == "" {
		t.Skip("`make nerdctl` runs it")
	}
	rerunAsUser(t, "^TestScriptNerdctl$", "NERDCTL="+os.Getenv("NERDCTL"))
}

// rerunAsUser runs tests of root's again as an ordinary user.
func rerunAsUser(t *testing.T, pattern string, env ...string) {
	t.Helper()
	asuser.NeedRoot(t)
	u := asuser.New(t)
	u.Rerun(t, pattern, append(env, programEnv+"="+addProgram(t, u))...)
}

// addProgram gives a user docker-rd, beside the port proxy.
func addProgram(t *testing.T, u *asuser.User) (path string) {
	t.Helper()
	from, err := exec.LookPath("docker-rd")
	if err == nil {
		path, err = u.Add("docker-rd", from)
	}
	if err != nil {
		t.Fatal(err)
	}
	return path
}

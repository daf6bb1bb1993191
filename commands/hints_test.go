package commands

import (
	"fmt"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/docker-rd/docker-rd/client"
	"github.com/docker-rd/docker-rd/commands/objects"
	"github.com/docker-rd/docker-rd/dockercontext/configfile"
	"github.com/docker-rd/docker-rd/instance"
	"github.com/docker-rd/docker-rd/internal/failure"
)

// Remedies are found by the type of an error, however it is wrapped.
func TestHint(t *testing.T) {
	t.Setenv("DOCKER_RD_HOME", t.TempDir())
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	_, noKind := objects.ParseKind("contianers")
	dev, standard := &instance.Instance{Name: "dev"}, &instance.Instance{Name: instance.DefaultName}
	for name, tc := range map[string]struct {
		verb string
		err  error
		want string
	}{
		"none":                 {"start", fmt.Errorf("x"), ""},
		"one of its own":       {"start", failure.WithHint(&instance.NotExistError{Name: "dev"}, "do y"), "do y"},
		"a new one helps":      {"env", &instance.NotExistError{Name: "dev"}, "`docker-rd ls` lists the instances; `docker-rd start dev` creates it"},
		"a new one is no help": {"stop", failure.Refuse("%w", &instance.NotExistError{Name: "dev"}), "`docker-rd ls` lists the instances"},
		"the default one":      {"env", &instance.NotExistError{Name: "default"}, "`docker-rd ls` lists the instances; `docker-rd start` creates it"},
		"a setting":            {"set", new(instance.Settings).Set("promtoe", "x"), "did you mean `promote`?"},
		"no setting":           {"set", new(instance.Settings).Set("colour", "x"), "settings are " + strings.Join(instance.SettingNames(), ", ")},
		"a kind":               {"get", noKind, "did you mean `containers`?"},
		"a word":               {"action", unknown("action", "satrt", []string{"start", "stop"}), "did you mean `start`?"},
		"no word":              {"action", unknown("action", "jump", []string{"start", "stop"}), "actions are start, stop"},
		"a problem":            {"action", fmt.Errorf("x: %w", &client.Error{Instance: dev, Problem: client.NotRunning, Err: fmt.Errorf("y")}), "`docker-rd start dev` starts it"},
		"of the default one":   {"action", &client.Error{Instance: standard, Problem: client.NotReady, Err: fmt.Errorf("y")}, "`docker-rd status` and `docker-rd logs` show more"},
		"config.json":          {"start", &configfile.RefusedError{Reason: configfile.BOM}, "save the file as UTF-8 without a byte-order mark"},
	} {
		if got := (hinter{&cobra.Command{Use: tc.verb}}).hint(tc.err); got != tc.want {
			t.Errorf("%s: %q, want %q", name, got, tc.want)
		}
	}
}

// Every problem of an instance has a remedy, but for one that says all.
func TestHintsOfProblems(t *testing.T) {
	for _, p := range []client.Problem{
		client.NotRunning, client.NotReady, client.Removed, client.EngineFailed, client.Crashed, client.Stopping,
		client.ContextInUse, client.Unanswered, client.Interrupted, client.TooNew,
	} {
		err := &client.Error{Instance: &instance.Instance{Name: "dev"}, Problem: p, Err: fmt.Errorf("x")}
		if (hinter{&cobra.Command{Use: "start"}}).hint(err) == "" {
			t.Errorf("%s: no hint", p)
		}
	}
}

package commands

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/docker-rd/docker-rd/client"
	"github.com/docker-rd/docker-rd/instance"
	"github.com/docker-rd/docker-rd/internal/test/endpointtest"
	"github.com/docker-rd/docker-rd/mirror/state"
)

// What answers may be no engine: every web server has some answer to a ping.
func TestAskAPI(t *testing.T) {
	web := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "OK") })
	for name, tc := range map[string]struct {
		host string
		want string // in the error; "" if an engine answers
	}{
		"an engine":     {endpointtest.TCP(t, "127.0.0.1", endpointtest.Handler()), ""},
		"a web server":  {endpointtest.TCP(t, "127.0.0.1", web), "not a Docker engine"},
		"a closed port": {endpointtest.ClosedPort(t, "127.0.0.1"), "nobody listens on "},
	} {
		t.Run(name, func(t *testing.T) {
			i := &instance.Instance{Settings: instance.Settings{Driver: instance.DriverExisting, Host: "tcp://" + tc.host}}
			got := askAPI(t.Context(), i, askTimeout)
			if got.Answers != (tc.want == "") || !strings.Contains(got.Error, tc.want) || got.Host != "tcp://"+tc.host {
				t.Errorf("askAPI = %+v", got)
			}
		})
	}
}

// A supervisor that was killed holds its lock for a moment longer than it lives.
func TestStatusOfDying(t *testing.T) {
	i := &instance.Instance{Name: "x", Paths: instance.Paths{State: t.TempDir(), Runtime: t.TempDir(), Data: t.TempDir()}, Settings: instance.Settings{Driver: instance.DriverExisting}}
	o := instance.Observation{Supervised: true, State: &state.State{Head: state.Head{Supervisor: &state.Supervisor{PID: 1 << 30}}}}
	for pid, starting := range map[int]bool{1 << 30: false, 1 << 29: true} {
		o.Holder.PID = pid
		if word := client.Status(o, i); (word == client.StatusStarting) != starting {
			t.Errorf("Status with a lock held by %d = %q", pid, word)
		}
	}
}

// Whatever the supervisor says of the engine, the word for it is one of those in the help of "ls".
func TestStatusWords(t *testing.T) {
	i := &instance.Instance{Name: "x", Paths: instance.Paths{State: t.TempDir()}}
	for reason, want := range map[state.Reason]string{
		"":                        "starting",
		state.ReasonStarting:      "starting",
		state.ReasonConnectFailed: "unreachable",
		state.ReasonExited:        "restarting",
		state.ReasonCrashLoop:     "failed",
		state.ReasonFailed:        "failed",
		state.ReasonStopped:       "stopping",
		state.ReasonUnresponsive:  "unresponsive",
	} {
		st := &state.State{Head: state.Head{Conditions: []state.Condition{{Type: state.EngineReady, Status: state.False, Reason: reason}}}}
		if word := client.Status(instance.Observation{Live: true, Supervised: true, State: st}, i); word != want {
			t.Errorf("Status of an engine that is %q = %q, want %q", reason, word, want)
		}
		if !strings.Contains(statusHelp(), "\n  "+want+" ") && !strings.HasPrefix(statusHelp(), "  "+want+" ") {
			t.Errorf("the help of ls does not have %q", want)
		}
	}
}

// An engine that hangs is not said to be stopped: another start would not help.
func TestCheckUsable(t *testing.T) {
	i := &instance.Instance{Name: "x", Paths: instance.Paths{State: t.TempDir()}}
	for reason, want := range map[state.Reason]client.Problem{
		state.ReasonUnresponsive: client.Stopping,
		state.ReasonExited:       client.NotRunning,
	} {
		st := &state.State{Head: state.Head{Conditions: []state.Condition{{Type: state.EngineReady, Status: state.Unknown, Reason: reason}}}}
		if err := checkUsable(i, instance.Observation{Live: true, Supervised: true, State: st}); !client.Is(err, want) {
			t.Errorf("of an engine that is %q: %v", reason, err)
		}
	}
	if err := checkUsable(i, instance.Observation{}); !client.Is(err, client.NotRunning) {
		t.Errorf("of a stopped instance: %v", err)
	}
}

// A supervisor that could not describe itself runs nevertheless.
func TestStatusOfUndescribed(t *testing.T) {
	if text := (supervisorFact{Running: true}).text(); text != "running" {
		t.Errorf("%q", text)
	}
}

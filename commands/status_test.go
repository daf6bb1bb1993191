package commands

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/docker-rd/docker-rd/instance"
	"github.com/docker-rd/docker-rd/internal/test/endpointtest"
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
			got := askAPI(t.Context(), i)
			if got.Answers != (tc.want == "") || !strings.Contains(got.Error, tc.want) || got.Host != "tcp://"+tc.host {
				t.Errorf("askAPI = %+v", got)
			}
		})
	}
}

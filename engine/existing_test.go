package engine

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/moby/moby/client"

	"github.com/docker-rd/docker-rd/instance"
)

// An engine may be behind a server that asks for the headers that docker is configured to
// send, or passes requests on by them.
func TestExistingHeaders(t *testing.T) {
	i := &instance.Instance{DockerConfig: t.TempDir(), Settings: instance.Settings{Driver: instance.DriverExisting, Host: "unix:///x.sock"}}
	config := filepath.Join(i.DockerConfig, "config.json")
	if err := os.WriteFile(config, []byte(`{"HttpHeaders": {"X-Meta": "yes"}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	driver, err := DriverFor(i, nil)
	if err != nil {
		t.Fatal(err)
	}
	if e, err := driver.Endpoint(); err != nil || e.Headers["X-Meta"] != "yes" {
		t.Errorf("Endpoint = %+v, %v, want the configured headers", e, err)
	}
	if err := os.Remove(config); err != nil {
		t.Fatal(err)
	}
	if e, err := driver.Endpoint(); err != nil || len(e.Headers) > 0 {
		t.Errorf("without a configuration: %+v, %v", e, err)
	}
}

// The context "default" is the system's engine, whatever the shell's variables say.
func TestExistingDefault(t *testing.T) {
	t.Setenv("DOCKER_HOST", "tcp://elsewhere:1")
	i := &instance.Instance{DockerConfig: t.TempDir(), Settings: instance.Settings{Driver: instance.DriverExisting, FromContext: "default"}}
	driver, err := DriverFor(i, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := driver.Check(); err != nil {
		t.Error(err)
	}
	if e, err := driver.Endpoint(); err != nil || e.Host != client.DefaultDockerHost {
		t.Errorf("Endpoint = %+v, %v, want %q", e, err, client.DefaultDockerHost)
	}
}

package client

import (
	"slices"
	"testing"
)

// A supervisor sees the Docker configuration of its instance, and nothing that leads
// elsewhere in the shell that happened to start it.
func TestEnvironment(t *testing.T) {
	shell := []string{
		"PATH=/bin", "DOCKER_HOST=tcp://x:1", "DOCKER_CONTEXT=x", "DOCKER_TLS_VERIFY=1", "DOCKER_CERT_PATH=/x", "DOCKER_API_VERSION=1.41",
		"DOCKER_CONFIG=/x", "DOCKER_RD_HOME=/rd", "HTTPS_PROXY=http://p:1",
	}
	want := []string{"PATH=/bin", "DOCKER_RD_HOME=/rd", "HTTPS_PROXY=http://p:1", "DOCKER_CONFIG=/mine"}
	if got := environment(shell, "/mine"); !slices.Equal(got, want) {
		t.Errorf("environment = %q, want %q", got, want)
	}
}

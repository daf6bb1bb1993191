package client

import (
	"path/filepath"
	"slices"
	"sync"
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

// Several restarts of an instance may look at the same time.
func TestCheckFilesTogether(t *testing.T) {
	i := newInstance(t)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 50 {
				if err := CheckFiles(i); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	if left, err := filepath.Glob(filepath.Join(i.Paths.State, "room*")); err != nil || len(left) > 0 {
		t.Errorf("left: %q, %v", left, err)
	}
}

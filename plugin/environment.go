package plugin

import (
	"os"
	"strings"
)

const (
	// pluginPrefix begins the environment variables by which docker and its plugins talk to
	// each other.
	pluginPrefix = "DOCKER_CLI_PLUGIN_"
	// otelAttributes also carries what docker tells its plugins of itself, beside what the
	// user has put there.
	otelAttributes = "OTEL_RESOURCE_ATTRIBUTES"
	otelPrefix     = "docker.cli."
)

// leaveDocker removes from the environment of this process what docker has put there for
// its plugin. A plugin of docker's that runs below this process, docker-rd included, must
// not take itself for one that docker has started.
func leaveDocker() {
	for _, kv := range os.Environ() {
		if name, _, _ := strings.Cut(kv, "="); strings.HasPrefix(name, pluginPrefix) {
			_ = os.Unsetenv(name)
		}
	}
	before, ok := os.LookupEnv(otelAttributes)
	if !ok {
		return
	}
	if after := withoutDocker(before); after != "" || before == "" {
		_ = os.Setenv(otelAttributes, after)
	} else {
		_ = os.Unsetenv(otelAttributes)
	}
}

// withoutDocker returns a list of attributes without docker's own.
func withoutDocker(attributes string) string {
	var kept []string
	for _, a := range strings.Split(attributes, ",") {
		if !strings.HasPrefix(strings.TrimSpace(a), otelPrefix) {
			kept = append(kept, a)
		}
	}
	return strings.Join(kept, ",")
}

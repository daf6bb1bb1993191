package plugin

import (
	"os"
	"strings"
)

const (
	// pluginPrefix begins the environment variables of docker's plugin protocol.
	pluginPrefix = "DOCKER_CLI_PLUGIN_"
	// otelAttributes has docker's attributes beside the user's.
	otelAttributes = "OTEL_RESOURCE_ATTRIBUTES"
	otelPrefix     = "docker.cli."
)

// leaveDocker removes docker's plugin protocol from the environment of this process: plugins that
// run below this process must not think that docker has started them.
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

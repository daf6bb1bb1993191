package plugin

import (
	"strings"
	"testing"
)

func TestPluginArgs(t *testing.T) {
	for _, tc := range []struct{ args, want string }{
		{"", "rd"},
		{"ls", "rd ls"},
		{"--help", "rd --help"},
		{"-i dev status", "rd -i dev status"},
		{"--context c ls", "--context c rd ls"},
		{"--context=c ls", "--context=c rd ls"},
		{"-c c -H tcp://h ls --format json", "-c c -H tcp://h rd ls --format json"},
		{"-Htcp://h ls", "-Htcp://h rd ls"},
		{"-Dc c ls", "-Dc c rd ls"},
		{"-Dcc ls", "-Dcc rd ls"},
		{"-D=true ls", "-D=true rd ls"},
		{"-Di dev status", "rd -Di dev status"},
		{"rd ls", "rd rd ls"},
		{"-D --tls --tlsverify ls", "-D --tls --tlsverify rd ls"},
		{"--config d start --host unix:///s", "--config d rd start --host unix:///s"},
		{"--context", "--context"},
		{"-- ls", "rd -- ls"},
		{"- ls", "rd - ls"},
		{"__complete st", "__complete rd st"},
		{"__completeNoDesc --context c st", "__completeNoDesc --context c rd st"},
		{"__complete --context c", "__complete --context c"},
	} {
		args := append([]string{"docker-rd"}, strings.Fields(tc.args)...)
		got := pluginArgs(args, false)
		if want := "docker-rd " + tc.want; strings.Join(got, " ") != want {
			t.Errorf("%q becomes %q, want %q", args, got, want)
		}
	}
}

// Docker's calls stay as they are. Those by a program that another plugin has started do not: they
// would print docker's help, and succeed.
func TestPluginArgsByDocker(t *testing.T) {
	for _, tc := range []struct{ args, want string }{
		{"rd ls", "rd ls"},
		{"-Dc c --tls rd ls", "-Dc c --tls rd ls"},
		{"__complete rd st", "__complete rd st"},
		{"help rd", "help rd"},
		{"--tls help rd start", "--tls help rd start"},
		{"help start", "rd help start"},
		{"docker-cli-plugin-metadata", "docker-cli-plugin-metadata"},
		{"rd docker-cli-plugin-hooks {}", "rd docker-cli-plugin-hooks {}"},
		{"", "rd"},
		{"ls", "rd ls"},
		{"--context rd stop", "--context rd rd stop"},
		{"__complete st", "__complete rd st"},
	} {
		got := pluginArgs(append([]string{"docker-rd"}, strings.Fields(tc.args)...), true)
		if want := strings.TrimSpace("docker-rd " + tc.want); strings.Join(got, " ") != want {
			t.Errorf("%q becomes %q, want %q", tc.args, got, want)
		}
	}
}

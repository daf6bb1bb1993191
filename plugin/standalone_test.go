package plugin

import (
	"strings"
	"testing"
)

func TestStandaloneArgs(t *testing.T) {
	for _, tc := range []struct{ args, want string }{
		{"", "rd"},
		{"ls", "rd ls"},
		{"--help", "rd --help"},
		{"-i dev status", "rd -i dev status"},
		{"--context c ls", "--context c rd ls"},
		{"--context=c ls", "--context=c rd ls"},
		{"-c c -H tcp://h ls --format json", "-c c -H tcp://h rd ls --format json"},
		{"-Htcp://h ls", "-Htcp://h rd ls"},
		{"-D --tls --tlsverify ls", "-D --tls --tlsverify rd ls"},
		{"--config d start --host unix:///s", "--config d rd start --host unix:///s"},
		{"--context", "--context rd"},
		{"-- ls", "rd -- ls"},
		{"- ls", "rd - ls"},
		{"__complete st", "__complete rd st"},
		{"__completeNoDesc --context c st", "__completeNoDesc --context c rd st"},
		{"__complete --context c", "__complete --context c"},
	} {
		args := append([]string{"docker-rd"}, strings.Fields(tc.args)...)
		got := standaloneArgs(args)
		if want := "docker-rd " + tc.want; strings.Join(got, " ") != want {
			t.Errorf("%q becomes %q, want %q", args, got, want)
		}
	}
}

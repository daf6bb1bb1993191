package commands

import (
	"bytes"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/docker-rd/docker-rd/internal/endpoint"
	"github.com/docker-rd/docker-rd/internal/files"
)

// leftOut stands for a value that may be a secret.
const leftOut = "(left out)"

// called matches the name of something that is called a secret.
const called = `(?:(?:passw(?:or)?d|passphrase|secret|token|credential|(?:api|access|private)[-_]?key)[\w-]*|[_-](?:pass|pwd))`

// option matches the beginning of an option on a command line.
const option = `(?:^|[\s"'])--?[\w-]*`

// quoted match what a string of JSON holds, and one within a string, as in a line of a log.
const (
	quotedOnce  = `(?:[^"\\]|\\.)*`
	quotedTwice = `(?:[^\\]|\\[^"\\]|\\\\(?:\\\\|\\"|[^\\]))*`
)

// secrets match what may be in any file, such as a password in the URL of a proxy.
var secrets = sync.OnceValue(func() []*regexp.Regexp {
	return []*regexp.Regexp{
		regexp.MustCompile(`://[^/\s:@"']*:([^/\s"']+)@`),
		regexp.MustCompile(`https?://([^/\s:@"']+)@`), // a token, in the place of a user's name
		// Containers' environments and the arguments of builds, which dockerd logs when it
		// debugs.
		regexp.MustCompile(`Env":\[((?:"` + quotedOnce + `",?)*)\]`),
		regexp.MustCompile(`Env\\":\[((?:\\"` + quotedTwice + `\\",?)*)\]`),
		regexp.MustCompile(`buildargs=([^&\s"]+)`),
	}
})

// namedSecrets match whatever is called a secret: an option of a log driver, an argument, a header.
var namedSecrets = sync.OnceValue(func() (all []*regexp.Regexp) {
	for _, secret := range []string{
		called + `"\s*:\s*"(` + quotedOnce + `)`,
		called + `\\+"\s*:\s*\\+"([^"\\]+)`,
		`"[\w-]*` + called + `=(` + quotedOnce + `)`,
		option + called + `"\s*,\s*"(` + quotedOnce + `)`,
		option + called + `\\+"\s*,\s*\\+"([^"\\]+)`,
		`(?:bearer|authorization: basic) ([\w+/=.~-]{8,})`,
	} {
		all = append(all, regexp.MustCompile(`(?i)`+secret))
	}
	for _, before := range []string{called + `=`, option + called + `\s+`} {
		// In a command, it may be quoted.
		for _, value := range []string{`'([^'"\\]+)`, `\\+"([^"\\,\]}][^"\\]*)`, `(?:\\*["'])?([^\s"'\\,\]}][^\s"'\\]*)`} {
			all = append(all, regexp.MustCompile(`(?i)`+before+value))
		}
	}
	return all
})

// inNames are in all that namedSecrets match. To look for them first is far quicker.
var inNames = []string{"pass", "pwd", "secret", "token", "credential", "key", "bearer", "authorization"}

// hideSecrets overwrites secrets and keeps the length.
func hideSecrets(line []byte) {
	lower := bytes.ToLower(line)
	hide(line, secrets())
	if slices.ContainsFunc(inNames, func(part string) bool { return bytes.Contains(lower, []byte(part)) }) {
		hide(line, namedSecrets())
	}
}

func hide(line []byte, secrets []*regexp.Regexp) {
	for _, secret := range secrets {
		for _, m := range secret.FindAllSubmatchIndex(line, -1) {
			for k := m[2]; k < m[3]; k++ {
				line[k] = '*'
			}
		}
	}
}

// safeVariables are variables whose values are not secret.
var safeVariables = append([]string{
	"DOCKER_CONFIG", "DOCKER_DEFAULT_PLATFORM", "DOCKER_CONTENT_TRUST", "DOCKER_BUILDKIT", "DOCKER_RD_HOME", instanceEnv,
	"HOME", "PATH", "SHELL", "SUDO_USER", "WSL_DISTRO_NAME", "NO_PROXY", "HTTP_PROXY", "HTTPS_PROXY", "no_proxy", "http_proxy", "https_proxy",
}, endpoint.Variables...)

// relevantEnvironment returns the variables that affect docker and docker rd.
func relevantEnvironment(env []string) []string {
	var kept []string
	for _, kv := range env {
		name, _, _ := strings.Cut(kv, "=")
		switch {
		case slices.Contains(safeVariables, name), strings.HasPrefix(name, "XDG_"):
			kept = append(kept, kv)
		case strings.HasPrefix(name, "DOCKER_"):
			kept = append(kept, name+"=***")
		}
	}
	slices.Sort(kept)
	return kept
}

// configKeys returns the keys of a config.json, with the values of those that choose an engine
// or a plugin. Others may be secret.
func configKeys(path string) map[string]any {
	var values map[string]any
	if err := files.ReadJSON(path, &values); err != nil {
		return map[string]any{"error": err.Error()}
	}
	for key := range values {
		switch key {
		case "currentContext", "cliPluginsExtraDirs", "credsStore":
		default:
			values[key] = leftOut
		}
	}
	return values
}

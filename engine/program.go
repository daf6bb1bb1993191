package engine

import (
	"cmp"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/docker-rd/docker-rd/instance"
)

// A Program is another program that runs engines, such as Docker Desktop.
type Program struct {
	Name  string   // as its users know it
	Start []string // its command that starts the engine
}

// Command returns the command that starts the engine, as it is typed.
func (p Program) Command() string { return strings.Join(p.Start, " ") }

// knownPrograms are recognized by the name of a context, or by a socket or pipe. What the groups of a
// pattern match replaces NAME in the command, or other does if that is empty.
var knownPrograms = []struct {
	name, start, other string
	context, host      string // patterns
}{
	{
		name: "Docker Desktop", start: "docker desktop start",
		context: `desktop-(linux|windows)`,
		host:    `unix://.*/\.docker/(desktop|run)/docker\.sock|npipe:////\./pipe/dockerDesktop(Linux|Windows)Engine`,
	},
	{
		name: "OrbStack", start: "orb start",
		context: `orbstack`,
		host:    `unix://.*/\.orbstack/run/docker\.sock`,
	},
	{
		// Its home is ~/.colima, ~/.config/colima or $COLIMA_HOME.
		name: "Colima", start: "colima start NAME", other: "default",
		context: `colima(?:-(.+))?`,
		host:    `unix://.*/\.?colima/([^/]+)/docker\.sock`,
	},
	{
		name: "podman machine", start: "podman machine start NAME", other: "podman-machine-default",
		context: `(podman-machine-.+)`,
		host: `unix://.*/podman/machine/(?:qemu/|applehv/)?(?:([^/]+)/)?podman\.sock` +
			`|unix://.*/podman/([^/]+)-api\.sock|npipe:////\./pipe/(podman-machine-[^/]+)`,
	},
	{
		name: "Rancher Desktop", start: "rdctl start",
		context: `rancher-desktop`,
		host:    `unix://.*/\.rd/docker\.sock`,
	},
}

// match matches all of a text. The patterns are not compiled before: that would cost every command.
func match(pattern, text string) []string {
	return regexp.MustCompile(`^(?:` + pattern + `)$`).FindStringSubmatch(text)
}

// ProgramOf returns the program whose engine an instance adopts; ok is false if none is known. A
// context that does not exist is known by its name: Colima removes its own when it stops.
func ProgramOf(i *instance.Instance) (p Program, ok bool) {
	if !i.Settings.Adopts() {
		return Program{}, false
	}
	ep, err := existing{inst: i}.Endpoint()
	if err == nil && !ep.IsLocal() {
		return Program{}, false // a name alone proves nothing
	}
	hosts := []string{ep.Host}
	if path, unix := strings.CutPrefix(ep.Host, "unix://"); unix {
		if target, err := os.Readlink(path); err == nil { // such as /var/run/docker.sock
			hosts = append(hosts, "unix://"+target)
		}
	}
	for _, known := range knownPrograms {
		found := match(known.context, i.Settings.FromContext)
		for _, host := range hosts {
			if found == nil {
				found = match(known.host, host)
			}
		}
		if found == nil {
			continue
		}
		words := strings.Fields(known.start)
		if at := slices.Index(words, "NAME"); at >= 0 {
			words[at] = cmp.Or(append(found[1:], known.other)...)
		}
		return Program{known.name, words}, true
	}
	return Program{}, false
}

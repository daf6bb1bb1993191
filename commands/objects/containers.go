package objects

import (
	"cmp"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/distribution/reference"
	"github.com/docker/cli/cli/command/formatter"
	"github.com/docker/go-units"
	"github.com/moby/moby/api/types/container"

	"github.com/docker-rd/docker-rd/commands/output"
	"github.com/docker-rd/docker-rd/mirror/state"
)

type containerRow struct {
	follows
	Command      string
	CreatedAt    string
	HealthStatus string
	ID           string
	Image        string
	Labels       string
	LastAction   string `json:",omitempty"`
	LocalVolumes string
	Mounts       string
	Names        string
	Networks     string
	Platform     *formatter.Platform
	Ports        string
	RunningFor   string
	Size         string
	State        string
	Status       string

	container *state.Container
}

// Label returns the value of a label.
func (r *containerRow) Label(name string) string { return r.container.Labels[name] }

// What docker's lists do not tell.

// Entrypoint and Cmd return what was configured to run.
func (r *containerRow) Entrypoint() string { return strings.Join(r.container.Entrypoint, " ") }
func (r *containerRow) Cmd() string        { return strings.Join(r.container.Cmd, " ") }

// User returns the user that was configured.
func (r *containerRow) User() string { return r.container.User }

// AutoRemove reports whether the container is removed when it ends.
func (r *containerRow) AutoRemove() bool { return r.container.AutoRemove }

// Project and Service return what Docker Compose made the container for.
func (r *containerRow) Project() string { return project(r.container.Compose) }
func (r *containerRow) Service() string {
	if r.container.Compose == nil {
		return ""
	}
	return r.container.Compose.Service
}

// PortBindings returns the ports to publish while the container runs.
func (r *containerRow) PortBindings() string { return portsText(r.container.PortBindings) }

// Limits returns the limits that are set.
func (r *containerRow) Limits() string {
	l := r.container.Limits
	if l == nil {
		return ""
	}
	var all []string
	add := func(format string, value any, set bool) {
		if set {
			all = append(all, fmt.Sprintf(format, value))
		}
	}
	add("memory=%s", units.BytesSize(float64(l.Memory)), l.Memory > 0)
	add("cpus=%g", float64(l.NanoCPUs)/1e9, l.NanoCPUs > 0)
	add("cpus=%g", float64(l.CPUQuota)/float64(max(l.CPUPeriod, 1)), l.CPUQuota > 0 && l.CPUPeriod > 0)
	add("cpuset=%s", l.CpusetCpus, l.CpusetCpus != "")
	add("pids=%d", l.PidsLimit, l.PidsLimit > 0)
	return strings.Join(all, ",")
}

// HealthOutput returns what the last health check wrote, if it failed.
func (r *containerRow) HealthOutput() string {
	if r.container.HealthCheck == nil {
		return ""
	}
	return strings.TrimSpace(r.container.HealthCheck.LastOutput)
}

// Action returns the action under way.
func (r *containerRow) Action() string {
	if r.container.Action == nil {
		return ""
	}
	return r.container.Action.Action
}

func project(c *state.Compose) string {
	if c == nil {
		return ""
	}
	return c.Project
}

// Containers returns the kind of containers.
func Containers() *Kind {
	return &Kind{
		Kind: state.Containers, singular: "container", Aliases: []string{"ctr", "ps"},
		layout: output.Layout{Table: "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}", Key: "{{.ID}}", Titles: map[string]string{"ID": "CONTAINER ID", "RunningFor": "CREATED"}},
		empty:  &containerRow{container: &state.Container{}},
		Filters: []string{
			"ancestor", "before", "exited", "expose", "health", "id", "label", "name", "network", "publish", "since", "status", "volume",
		},
		unanswered:  []string{"isolation", "is-task"},
		newestFirst: true,
		entries: func(s *state.State) (all []entry) {
			for id, c := range s.Containers {
				all = append(all, entry{id, []string{c.Name}, c.CreatedAt, "", c.Labels})
			}
			return all
		},
		about: func(s *state.State, key string) []string {
			c := s.Containers[key]
			return []string{c.ImageRef, c.State, strings.TrimPrefix(c.Health, state.HealthNone)}
		},
		match: matchContainers,
		rows: func(v *view, key string) []row {
			c := v.Containers[key]
			return []row{v.containerRow(&c)}
		},
	}
}

func (v *view) containerRow(c *state.Container) *containerRow {
	r := &containerRow{
		Command:      strconv.Quote(v.command(c)),
		CreatedAt:    second(c.CreatedAt),
		follows:      follows{Deletion: describeDeletion(c.Deletion)},
		HealthStatus: c.Health,
		ID:           v.id(c.ID),
		Image:        v.imageOf(c),
		Labels:       joinLabels(c.Labels),
		LocalVolumes: strconv.Itoa(v.localVolumes(c)),
		Mounts:       v.mounts(c),
		Names:        c.Name,
		Ports:        portsText(c.Ports),
		RunningFor:   v.ago(listed(c.CreatedAt)),
		Size:         sizeOf(c.Usage),
		State:        c.State,
		Status:       v.status(c),
		container:    c,
	}
	if a := c.LastAction; a != nil {
		r.LastAction = a.Action + " " + a.State
		if a.Error != "" {
			r.LastAction += ": " + a.Error
		}
	}
	names := make([]string, len(c.Networks))
	for i, n := range c.Networks {
		names[i] = n.Name
	}
	r.Networks = strings.Join(names, ",")
	return r
}

// sizeOf is what a container takes on disk, as docker writes it.
func sizeOf(u *state.ContainerUsage) string {
	if u == nil {
		return notAvailable
	}
	size := humanSize(u.SizeRw)
	if u.SizeRootFs == 0 {
		return size
	}
	return fmt.Sprintf("%s (virtual %s)", size, humanSize(u.SizeRootFs))
}

// command is the container's command as the engine's list has it.
func (v *view) command(c *state.Container) string {
	words := []string{c.Path}
	for _, arg := range c.Args {
		if strings.Contains(arg, " ") {
			arg = "'" + arg + "'"
		}
		words = append(words, arg)
	}
	command := strings.Join(words, " ")
	if v.trunc {
		command = formatter.Ellipsis(command, 20)
	}
	return command
}

// imageOf is the reference of the container's image if it still names that image, else the id.
func (v *view) imageOf(c *state.Container) string {
	ref, full := c.ImageRef, c.ImageRef
	if namespace, _ := splitKey(c.Image); namespace != "" { // others may have that name too
		full = namespace + "/" + ref
	}
	if ref != c.Image && v.resolve(full) != c.Image {
		ref = c.Image
	}
	if ref == "" {
		return "<no image>"
	}
	if !v.trunc {
		return ref
	}
	if id := formatter.TruncateID(c.Image); id == formatter.TruncateID(ref) {
		return id
	}
	if !canShorten(ref) {
		return ref
	}
	return shortReference(ref)
}

// canShorten is a quick check that shortReference may change a reference: that one costs more
// than the rest of a row.
func canShorten(ref string) bool {
	return strings.Contains(ref, "@") || strings.HasPrefix(ref, "library/") ||
		strings.HasPrefix(ref, "docker.io/") || strings.HasPrefix(ref, "index.docker.io/")
}

// shortReference removes docker's own registry and the digest from a reference.
func shortReference(ref string) string {
	named, err := reference.ParseNormalizedNamed(ref)
	if err != nil {
		return ref
	}
	if _, ok := named.(reference.Digested); ok {
		bare := reference.TrimNamed(named)
		if t, ok := named.(reference.Tagged); ok {
			if tagged, err := reference.WithTag(bare, t.Tag()); err == nil {
				bare = tagged
			}
		}
		named = bare
	}
	return reference.FamiliarString(named)
}

func (v *view) localVolumes(c *state.Container) int {
	n := 0
	for _, m := range c.Mounts {
		if m.Name != "" && v.Volumes[volumeKey(v.Volumes, c, m)].Driver == "local" {
			n++
		}
	}
	return n
}

func (v *view) mounts(c *state.Container) string {
	names := make([]string, len(c.Mounts))
	for i, m := range c.Mounts {
		names[i] = cmp.Or(m.Name, m.Source)
		if v.trunc {
			names[i] = formatter.Ellipsis(names[i], 15)
		}
	}
	return strings.Join(names, ",")
}

// status is moby's text for the state of a container.
func (v *view) status(c *state.Container) string {
	switch c.State {
	case state.StateRunning:
		text := "Up " + units.HumanDuration(v.now.Sub(c.StartedAt))
		switch c.Health {
		case state.HealthNone, "":
			return text
		case state.HealthStarting:
			return text + " (health: starting)"
		}
		return text + " (" + c.Health + ")"
	case state.StatePaused:
		return "Up " + units.HumanDuration(v.now.Sub(c.StartedAt)) + " (Paused)"
	case state.StateRestarting:
		return fmt.Sprintf("Restarting (%d) %s", c.ExitCode, v.ago(c.FinishedAt))
	case state.StateExited:
		if c.FinishedAt.IsZero() {
			return ""
		}
		return fmt.Sprintf("Exited (%d) %s", c.ExitCode, v.ago(c.FinishedAt))
	case state.StateRemoving:
		return "Removal In Progress"
	case state.StateDead:
		return "Dead"
	case state.StateCreated:
		return "Created"
	}
	return ""
}

func portsText(ports []state.Port) string {
	if len(ports) == 0 {
		return ""
	}
	summaries := make([]container.PortSummary, len(ports))
	for i, p := range ports {
		ip, _ := netip.ParseAddr(p.HostIP)
		summaries[i] = container.PortSummary{IP: ip, PrivatePort: p.ContainerPort, PublicPort: p.HostPort, Type: p.Protocol}
	}
	return formatter.DisplayablePorts(summaries)
}

func isAlive(c *state.Container) bool {
	return c.State == state.StateRunning || c.State == state.StatePaused || c.State == state.StateRestarting
}

// A Brief is a part of a container's row in `docker ps`.
type Brief struct{ Image, Status, Ports string }

// BriefOf returns the brief of a container of a state.
func BriefOf(s *state.State, c *state.Container, now time.Time) Brief {
	v := &view{State: s, now: now, trunc: true}
	return Brief{Image: cmp.Or(c.ImageRef, c.Image), Status: v.status(c), Ports: portsText(c.Ports)}
}

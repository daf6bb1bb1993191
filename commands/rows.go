package commands

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/distribution/reference"
	"github.com/docker/cli/cli/command/formatter"
	"github.com/docker/go-units"
	"github.com/moby/moby/api/types/container"

	"github.com/docker-rd/docker-rd/mirror/state"
)

// A row is an object as docker lists it: its fields are docker's placeholders, with
// docker's values. Docker's own formatters are not used, because they find the fields
// of each row by reflection on methods; a test holds the two against each other.
type row interface {
	formatter.SubContext
	setEvent(state.ChangeType)
}

// follows is what a row has that tells of a change.
type follows struct {
	Event state.ChangeType `json:",omitempty"` // with --watch
}

func (f *follows) setEvent(e state.ChangeType) { f.Event = e }

// notAvailable is what docker prints where it does not know.
const notAvailable = "N/A"

// A view is a state to be shown. It belongs to one goroutine; see copy.
type view struct {
	*state.State
	now    time.Time
	trunc  bool
	digest bool // the digests of images are shown
	// shows tells which references of images get a row; nil for all.
	shows func(id, ref string) bool

	names func() map[string]string // tags and digests to images
	users func() map[string]int64  // containers by image
	known map[string]string        // what was asked of resolve
}

func newView(s *state.State, o *getOptions) *view {
	return &view{
		State: s, now: time.Now(), trunc: !o.noTrunc, digest: strings.Contains(o.format, "{{.Digest}}"),
		names: sync.OnceValue(func() map[string]string { return imageNames(s) }),
		users: sync.OnceValue(func() map[string]int64 { return containersByImage(s) }),
		known: map[string]string{},
	}
}

// copy returns the view for another goroutine.
func (v *view) copy() *view {
	c := *v
	c.known = map[string]string{}
	return &c
}

// resolve returns the image that a reference means, as the engine finds it: by name, by
// digest or by its id or the beginning of one. It returns "" if there is none.
func (v *view) resolve(ref string) string {
	if id, ok := v.names()[ref]; ok {
		return id
	}
	id, ok := v.known[ref]
	if !ok {
		if found := findImages(v.State, v.names(), ref); len(found) == 1 {
			id = found[0]
		}
		v.known[ref] = id
	}
	return id
}

// imageNames returns the images by their tags and digests.
func imageNames(s *state.State) map[string]string {
	names := make(map[string]string, len(s.Images))
	for id, i := range s.Images {
		for _, t := range i.RepoTags {
			names[t] = id
		}
		for _, d := range i.RepoDigests {
			names[d] = id
		}
	}
	return names
}

// findImages returns the images that a reference may mean, by their names and ids.
func findImages(s *state.State, names map[string]string, ref string) []string {
	for _, form := range referenceForms(ref) {
		if id, ok := names[form]; ok {
			return []string{id}
		}
	}
	return byID(s.Images, ref)
}

// referenceForms returns how engines may write a reference: docker leaves out its own
// registry, podman never does.
func referenceForms(ref string) []string {
	forms := []string{ref}
	if named, err := reference.ParseNormalizedNamed(ref); err == nil {
		named = reference.TagNameOnly(named)
		forms = append(forms, reference.FamiliarString(named), named.String())
	}
	return forms
}

func (v *view) id(id string) string {
	if v.trunc {
		return formatter.TruncateID(id)
	}
	return id
}

func (v *view) ago(t time.Time) string { return units.HumanDuration(v.now.Sub(t)) + " ago" }

// createdSince is ago for a time that docker has from the list call, to the second.
func (v *view) createdSince(t time.Time) string { return v.ago(t.Truncate(time.Second)) }

// second is a time as docker prints it, which has the list call's precision.
func second(t time.Time) string { return time.Unix(t.Unix(), 0).String() }

func joinLabels(labels map[string]string) string {
	joined := make([]string, 0, len(labels))
	for k, v := range labels {
		joined = append(joined, k+"="+v)
	}
	slices.Sort(joined)
	return strings.Join(joined, ",")
}

func describeDeletion(d *state.Deletion) string {
	switch {
	case d == nil:
		return ""
	case d.Error != "":
		return d.Error
	}
	return "requested"
}

// Containers.

type containerRow struct {
	follows
	Command      string
	CreatedAt    string
	Deletion     string `json:",omitempty"`
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

	labels map[string]string
}

// Label returns the value of a label.
func (r *containerRow) Label(name string) string { return r.labels[name] }

// FullHeader implements docker's formatter.SubContext.
func (*containerRow) FullHeader() any {
	return formatter.SubHeaderContext{
		"Command": "COMMAND", "CreatedAt": "CREATED AT", "Deletion": "DELETION", "Event": "EVENT",
		"HealthStatus": "HEALTH STATUS", "ID": "CONTAINER ID", "Image": "IMAGE", "Labels": "LABELS",
		"LastAction": "LAST ACTION", "LocalVolumes": "LOCAL VOLUMES", "Mounts": "MOUNTS", "Names": "NAMES",
		"Networks": "NETWORKS", "Platform": "PLATFORM", "Ports": "PORTS", "RunningFor": "CREATED",
		"Size": "SIZE", "State": "STATE", "Status": "STATUS",
	}
}

func containerKind() *kind {
	return &kind{
		Kind: state.Containers, singular: "container", aliases: []string{"ps"},
		table: "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}",
		key:   "{{.ID}}",
		empty: &containerRow{},
		filters: []string{
			"ancestor", "before", "exited", "expose", "health", "id", "label", "name", "network", "publish", "since", "status", "volume",
		},
		unanswered: []string{"isolation", "is-task"},
		keys: func(v *view, _ bool) []string {
			return sortedKeys(v.Containers, func(c state.Container) time.Time { return c.CreatedAt }, newestFirst)
		},
		match: matchContainers,
		rows: func(v *view, key string) []row {
			c := v.Containers[key]
			return []row{v.containerRow(&c)}
		},
		find: func(s *state.State, word string) []string {
			return byName(s.Containers, strings.TrimPrefix(word, "/"), func(c state.Container) string { return c.Name })
		},
		words: func(s *state.State) (words []string) {
			for _, c := range s.Containers {
				words = append(words, c.Name)
			}
			return words
		},
	}
}

func (v *view) containerRow(c *state.Container) *containerRow {
	r := &containerRow{
		Command:      strconv.Quote(v.command(c)),
		CreatedAt:    second(c.CreatedAt),
		Deletion:     describeDeletion(c.Deletion),
		ID:           v.id(c.ID),
		Image:        v.imageOf(c),
		Labels:       joinLabels(c.Labels),
		LocalVolumes: strconv.Itoa(v.localVolumes(c)),
		Mounts:       v.mounts(c),
		Names:        c.Name,
		Ports:        portsText(c.Ports),
		RunningFor:   v.createdSince(c.CreatedAt),
		Size:         notAvailable,
		State:        c.State,
		Status:       v.status(c),
		labels:       c.Labels,
	}
	if c.Health != state.HealthNone {
		r.HealthStatus = c.Health
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

// command is what the container runs, as the engine puts it together for its list.
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

// imageOf is the image as it was asked for, if that still means the same image.
func (v *view) imageOf(c *state.Container) string {
	ref := c.ImageRef
	if ref != c.Image && v.resolve(ref) != c.Image {
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

// canShorten tells quickly of most references that shortReference leaves them as they
// are: it costs more than the rest of a row.
func canShorten(ref string) bool {
	return strings.Contains(ref, "@") || strings.HasPrefix(ref, "library/") ||
		strings.HasPrefix(ref, "docker.io/") || strings.HasPrefix(ref, "index.docker.io/")
}

// shortReference leaves out of a reference docker's own registry and the digest.
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
		if m.Name != "" && v.Volumes[m.Name].Driver == "local" {
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

// status is the text that moby has for the state of a container.
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

// Images.

type imageRow struct {
	follows
	Containers   string
	CreatedAt    string
	CreatedSince string
	Deletion     string `json:",omitempty"`
	Digest       string
	ID           string
	Repository   string
	SharedSize   string
	Size         string
	Tag          string
	UniqueSize   string
}

// VirtualSize is the size: docker before 29 has this placeholder too.
func (r *imageRow) VirtualSize() string { return r.Size }

// FullHeader implements docker's formatter.SubContext.
func (*imageRow) FullHeader() any {
	return formatter.SubHeaderContext{
		"Containers": "CONTAINERS", "CreatedAt": "CREATED AT", "CreatedSince": "CREATED", "Deletion": "DELETION",
		"Digest": "DIGEST", "Event": "EVENT", "ID": "IMAGE ID", "Repository": "REPOSITORY", "SharedSize": "SHARED SIZE",
		"Size": "SIZE", "Tag": "TAG", "UniqueSize": "UNIQUE SIZE", "VirtualSize": "SIZE",
	}
}

func imageKind() *kind {
	return &kind{
		Kind: state.Images, singular: "image",
		table:   "{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}",
		key:     "{{.ID}}",
		empty:   &imageRow{},
		filters: []string{"before", "dangling", "label", "reference", "since", "until"},
		keys: func(v *view, all bool) []string {
			keys := sortedKeys(v.Images, func(i state.Image) time.Time { return i.CreatedAt }, newestFirst)
			if all {
				return keys
			}
			parents := v.parents()
			return slices.DeleteFunc(keys, func(key string) bool {
				i := v.Images[key]
				return parents[key] && len(i.RepoTags)+len(i.RepoDigests) == 0
			})
		},
		match: matchImages,
		rows: func(v *view, key string) []row {
			i := v.Images[key]
			return v.imageRows(&i)
		},
		find: func(s *state.State, word string) []string { return findImages(s, imageNames(s), word) },
		words: func(s *state.State) (words []string) {
			for id, i := range s.Images {
				words = append(words, i.RepoTags...)
				if len(i.RepoTags) == 0 {
					words = append(words, formatter.TruncateID(id))
				}
			}
			return words
		},
	}
}

// parents returns the images that others were made from.
func (v *view) parents() map[string]bool {
	parents := map[string]bool{}
	for _, i := range v.Images {
		if i.Parent != "" {
			parents[i.Parent] = true
		}
	}
	return parents
}

func containersByImage(s *state.State) map[string]int64 {
	users := map[string]int64{}
	for _, c := range s.Containers {
		users[c.Image]++
	}
	return users
}

const none = "<none>"

// imageRows returns a row for each tag, or for each tag and digest where digests are
// shown, and for each repository without a tag.
func (v *view) imageRows(i *state.Image) []row {
	var rows []row
	add := func(repo, tag, digest, ref string) {
		if v.shows != nil && !v.shows(i.ID, ref) {
			return
		}
		r := &imageRow{
			Containers:   strconv.FormatInt(v.users()[i.ID], 10),
			CreatedAt:    second(i.CreatedAt),
			CreatedSince: notAvailable,
			Digest:       digest,
			ID:           v.id(i.ID),
			Repository:   repo,
			SharedSize:   notAvailable,
			Size:         units.HumanSizeWithPrecision(float64(i.Size), 3),
			Tag:          tag,
			UniqueSize:   notAvailable,
		}
		if !i.CreatedAt.IsZero() {
			r.CreatedSince = v.createdSince(i.CreatedAt)
		}
		for _, key := range []string{ref, i.ID} {
			if d, ok := i.Deletions[key]; ok {
				r.Deletion = describeDeletion(&d)
				break
			}
		}
		rows = append(rows, r)
	}
	if len(i.RepoTags)+len(i.RepoDigests) == 0 {
		add(none, none, none, i.ID)
		return rows
	}
	digests := map[string][]string{} // by repository
	var repos []string
	for _, ref := range i.RepoDigests {
		repo, digest, _ := strings.Cut(ref, "@")
		repo = familiar(repo)
		if digests[repo] == nil {
			repos = append(repos, repo)
		}
		digests[repo] = append(digests[repo], digest)
	}
	tagged := map[string]bool{}
	for _, ref := range i.RepoTags {
		colon := strings.LastIndex(ref, ":")
		if colon < 0 {
			continue
		}
		repo, tag := familiar(ref[:colon]), ref[colon+1:]
		tagged[repo] = true
		if !v.digest || len(digests[repo]) == 0 {
			add(repo, tag, none, ref)
			continue
		}
		for _, d := range digests[repo] {
			add(repo, tag, d, ref)
		}
	}
	for _, repo := range repos {
		if !tagged[repo] {
			add(repo, none, "", repo+"@"+digests[repo][0])
		}
	}
	return rows
}

// familiar is a repository as docker shows it. Docker's engine writes it so already;
// only names with a registry can be others.
func familiar(repo string) string {
	if !strings.HasPrefix(repo, "docker.io/") && !strings.HasPrefix(repo, "index.docker.io/") {
		return repo
	}
	named, err := reference.ParseNormalizedNamed(repo)
	if err != nil {
		return repo
	}
	return reference.FamiliarName(named)
}

// Volumes.

type volumeRow struct {
	follows
	Availability string
	Deletion     string `json:",omitempty"`
	Driver       string
	Group        string
	Labels       string
	Links        string
	Mountpoint   string
	Name         string
	Scope        string
	Size         string
	Status       string

	labels map[string]string
}

// Label returns the value of a label.
func (r *volumeRow) Label(name string) string { return r.labels[name] }

// FullHeader implements docker's formatter.SubContext.
func (*volumeRow) FullHeader() any {
	return formatter.SubHeaderContext{
		"Availability": "AVAILABILITY", "Deletion": "DELETION", "Driver": "DRIVER", "Event": "EVENT", "Group": "GROUP",
		"Labels": "LABELS", "Links": "LINKS", "Mountpoint": "MOUNTPOINT", "Name": "VOLUME NAME", "Scope": "SCOPE",
		"Size": "SIZE", "Status": "STATUS",
	}
}

func volumeKind() *kind {
	return &kind{
		Kind: state.Volumes, singular: "volume",
		table:   "{{.Driver}}\t{{.Name}}",
		key:     "{{.Name}}",
		empty:   &volumeRow{},
		filters: []string{"dangling", "driver", "label", "name"},
		keys: func(v *view, _ bool) []string {
			return sortedKeys(v.Volumes, func(o state.Volume) string { return o.Name }, naturally)
		},
		match: matchVolumes,
		rows: func(v *view, key string) []row {
			vol := v.Volumes[key]
			return []row{&volumeRow{
				// Cluster volumes and sizes are not mirrored.
				Availability: notAvailable, Group: notAvailable, Links: notAvailable, Size: notAvailable, Status: notAvailable,
				Deletion: describeDeletion(vol.Deletion), Driver: vol.Driver, Labels: joinLabels(vol.Labels),
				Mountpoint: vol.Mountpoint, Name: vol.Name, Scope: vol.Scope, labels: vol.Labels,
			}}
		},
		find: func(s *state.State, word string) []string {
			if _, ok := s.Volumes[word]; ok {
				return []string{word}
			}
			return nil
		},
		words: func(s *state.State) (words []string) {
			for name := range s.Volumes {
				words = append(words, name)
			}
			return words
		},
	}
}

// Networks.

type networkRow struct {
	follows
	CreatedAt string
	Deletion  string `json:",omitempty"`
	Driver    string
	ID        string
	IPv4      string
	IPv6      string
	Internal  string
	Labels    string
	Name      string
	Scope     string

	labels map[string]string
}

// Label returns the value of a label.
func (r *networkRow) Label(name string) string { return r.labels[name] }

// FullHeader implements docker's formatter.SubContext.
func (*networkRow) FullHeader() any {
	return formatter.SubHeaderContext{
		"CreatedAt": "CREATED AT", "Deletion": "DELETION", "Driver": "DRIVER", "Event": "EVENT", "ID": "NETWORK ID",
		"IPv4": "IPV4", "IPv6": "IPV6", "Internal": "INTERNAL", "Labels": "LABELS", "Name": "NAME", "Scope": "SCOPE",
	}
}

func networkKind() *kind {
	return &kind{
		Kind: state.Networks, singular: "network",
		table:   "{{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.Scope}}",
		key:     "{{.ID}}",
		empty:   &networkRow{},
		filters: []string{"dangling", "driver", "id", "label", "name", "scope", "type"},
		keys: func(v *view, _ bool) []string {
			return sortedKeys(v.Networks, func(o state.Network) string { return o.Name }, naturally)
		},
		match: matchNetworks,
		rows: func(v *view, key string) []row {
			n := v.Networks[key]
			return []row{&networkRow{
				CreatedAt: n.CreatedAt.String(), Deletion: describeDeletion(n.Deletion), Driver: n.Driver, ID: v.id(n.ID),
				IPv4: strconv.FormatBool(hasIPv4(n.Subnets)), IPv6: strconv.FormatBool(n.IPv6), Internal: strconv.FormatBool(n.Internal),
				Labels: joinLabels(n.Labels), Name: n.Name, Scope: n.Scope, labels: n.Labels,
			}}
		},
		find: func(s *state.State, word string) []string {
			return byName(s.Networks, word, func(n state.Network) string { return n.Name })
		},
		words: func(s *state.State) (words []string) {
			for _, n := range s.Networks {
				words = append(words, n.Name)
			}
			return words
		},
	}
}

// hasIPv4 derives from the subnets what only engines since 28 tell: IPv4 is on unless
// all subnets are others.
func hasIPv4(subnets []string) bool {
	return len(subnets) == 0 || slices.ContainsFunc(subnets, func(s string) bool { return strings.Contains(s, ".") })
}

// Namespaces, which docker does not list.

type namespaceRow struct {
	follows
	Name string
}

// FullHeader implements docker's formatter.SubContext.
func (*namespaceRow) FullHeader() any {
	return formatter.SubHeaderContext{"Event": "EVENT", "Name": "NAME"}
}

func namespaceKind() *kind {
	return &kind{
		Kind: state.Namespaces, singular: "namespace", aliases: []string{"ns"},
		table:   "{{.Name}}",
		key:     "{{.Name}}",
		empty:   &namespaceRow{},
		filters: []string{"name"},
		keys: func(v *view, _ bool) []string {
			return sortedKeys(v.Namespaces, func(o state.Namespace) string { return o.Name }, naturally)
		},
		match: func(v *view, f filterSet) (func(string) bool, error) {
			return func(key string) bool { return f.matches("name", key) }, nil
		},
		rows: func(_ *view, key string) []row { return []row{&namespaceRow{Name: key}} },
		find: func(s *state.State, word string) []string {
			if _, ok := s.Namespaces[word]; ok {
				return []string{word}
			}
			return nil
		},
		words: func(s *state.State) (words []string) {
			for name := range s.Namespaces {
				words = append(words, name)
			}
			return words
		},
	}
}

package objects

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/docker/cli/cli/command/formatter"
	"github.com/docker/cli/opts"
	"github.com/google/go-cmp/cmp"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/image"
	"github.com/moby/moby/api/types/volume"

	"github.com/docker-rd/docker-rd/commands/output"
	"github.com/docker-rd/docker-rd/mirror/state"
)

func testOptions(format string) Options {
	return Options{Options: output.Options{Format: format}, Filter: opts.NewFilterOpt()}
}

// rendered is what get prints of the keys.
func rendered(t *testing.T, k *Kind, v *view, o Options, keys []string) string {
	t.Helper()
	var rows []row
	for _, key := range keys {
		rows = append(rows, k.rows(v, key)...)
	}
	var b bytes.Buffer
	if err := output.NewStream(&b, o.Options, k.layout, k.empty).WriteRows(rows); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

const digest = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

func testContainers(now time.Time) map[string]state.Container {
	cs := map[string]state.Container{}
	for n, c := range []state.Container{
		{Name: "plain", ImageRef: "app", Path: "sh", State: state.StateCreated, Health: state.HealthNone},
		{Name: "ill", ImageRef: "app", Path: "sh", State: state.StateCreated, Health: state.HealthUnhealthy},
		{Name: "long", ImageRef: "app:1@" + digest, Path: "/usr/bin/something", Args: []string{"with words", "--and", "more"}, State: state.StateCreated},
		{Name: "wide", ImageRef: "docker.io/library/app:1", Path: "/bin/日本語日本語日本語", Args: []string{"日本語"}, State: state.StateCreated},
		{Name: "quoted", ImageRef: "sha256:" + strings.Repeat("b", 64), Path: `a"b\c`, Labels: map[string]string{"b": "2", "a": "1"}, State: state.StateCreated},
		{Name: "retagged", ImageRef: "moved:1", Path: "sh", State: state.StateCreated},
		{
			Name: "ports", ImageRef: "example.org:5000/team/app:v1", Path: "sh", State: state.StateCreated,
			Ports: []state.Port{
				{ContainerPort: 53, Protocol: "udp"}, {ContainerPort: 80, Protocol: "tcp", HostIP: "0.0.0.0", HostPort: 80},
				{ContainerPort: 81, Protocol: "tcp", HostIP: "0.0.0.0", HostPort: 81}, {ContainerPort: 82, Protocol: "tcp", HostIP: "::", HostPort: 8082},
			},
			Mounts: []state.Mount{
				{Type: "volume", Name: "a-name-that-is-longer-than-most", Destination: "/a"}, {Type: "bind", Source: "/src", Destination: "/b"},
			},
		},
	} {
		c.ID = fmt.Sprintf("%064x", n+0xabcdef0123)
		c.Image = "sha256:" + strings.Repeat("b", 64)
		c.CreatedAt = now.Add(-time.Duration(n*n*1000+90) * time.Second)
		cs[c.ID] = c
	}
	return cs
}

// summary is what an engine lists of the container.
func summary(c state.Container, v *view) container.Summary {
	s := container.Summary{
		ID: c.ID, Names: []string{"/" + c.Name}, Image: c.ImageRef, ImageID: c.Image, Command: c.Path,
		Created: c.CreatedAt.Unix(), Labels: c.Labels, State: container.ContainerState(c.State), Status: "Created",
		Health: &container.HealthSummary{Status: container.HealthStatus(c.Health)},
	}
	if c.Name == "retagged" {
		s.Image = c.Image // as moby does when the reference means another image by now
	}
	for _, arg := range c.Args {
		if strings.Contains(arg, " ") {
			arg = "'" + arg + "'"
		}
		s.Command += " " + arg
	}
	for _, p := range c.Ports {
		ip, _ := netip.ParseAddr(p.HostIP)
		s.Ports = append(s.Ports, container.PortSummary{IP: ip, PrivatePort: p.ContainerPort, PublicPort: p.HostPort, Type: p.Protocol})
	}
	for _, m := range c.Mounts {
		s.Mounts = append(s.Mounts, container.MountPoint{Name: m.Name, Source: m.Source, Driver: v.Volumes[m.Name].Driver})
	}
	return s
}

func TestContainersAsDocker(t *testing.T) {
	now := time.Now()
	id := "sha256:" + strings.Repeat("b", 64)
	s := &state.State{
		Containers: testContainers(now),
		Images: map[string]state.Image{
			id:               {ID: id, RepoTags: []string{"app:1", "app:latest", "example.org:5000/team/app:v1"}, RepoDigests: []string{"app@" + digest}},
			"sha256:" + "cc": {ID: "sha256:cc", RepoTags: []string{"moved:1"}},
		},
		Volumes: map[string]state.Volume{"a-name-that-is-longer-than-most": {Driver: "local"}},
	}
	// With a tag and a digest, moby goes by the digest.
	for key, c := range s.Containers {
		if c.Name == "long" {
			s.Images[id] = state.Image{ID: id, RepoTags: s.Images[id].RepoTags, RepoDigests: []string{c.ImageRef, "app@" + digest}}
			s.Containers[key] = c
		}
	}
	k := Containers()
	for _, trunc := range []bool{true, false} {
		for _, format := range []string{"table", "json", `{{.ID}} {{.Names}} {{.Label "a"}} {{.Labels}} {{.Image}} {{.Platform}}`} {
			o := testOptions(format)
			o.NoTrunc = !trunc
			v := newView(s, o, time.Now())
			keys := v.withoutIntermediate(k.keys(s))
			got := rendered(t, k, v, o, keys)
			var summaries []container.Summary
			for _, key := range keys {
				summaries = append(summaries, summary(s.Containers[key], v))
			}
			var want bytes.Buffer
			ctx := formatter.Context{Output: &want, Format: formatter.NewContainerFormat(format, false, false), Trunc: trunc}
			if err := formatter.ContainerWrite(ctx, summaries); err != nil {
				t.Fatal(err)
			}
			sameOutput(t, format, got, want.String(), "Size")
		}
	}
}

// sameOutput compares outputs; of JSON, all but the named fields.
func sameOutput(t *testing.T, format, got, want string, except ...string) {
	t.Helper()
	if format != "json" {
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("format %q (-docker +got):\n%s", format, diff)
		}
		return
	}
	if diff := cmp.Diff(jsonLines(t, want, except), jsonLines(t, got, except)); diff != "" {
		t.Errorf("json (-docker +got):\n%s", diff)
	}
}

func jsonLines(t *testing.T, text string, except []string) (lines []map[string]any) {
	t.Helper()
	for line := range strings.Lines(text) {
		var object map[string]any
		if err := json.Unmarshal([]byte(line), &object); err != nil {
			t.Fatal(err)
		}
		for _, name := range except {
			delete(object, name)
		}
		lines = append(lines, object)
	}
	return lines
}

func TestImagesAsDocker(t *testing.T) {
	created := time.Now().Add(-3 * time.Hour)
	s := &state.State{Images: map[string]state.Image{}}
	var keys []string
	var summaries []image.Summary
	for n, refs := range []struct{ tags, digests []string }{
		{tags: []string{"app:1", "app:2"}},
		{tags: []string{"example.org:5000/app:1"}, digests: []string{"example.org:5000/app@" + digest}},
		{digests: []string{"app@" + digest}},
		{},
	} {
		id := "sha256:" + fmt.Sprintf("%064x", n+0xabcdef0123)
		created, listed := created, created.Unix()
		if len(refs.tags)+len(refs.digests) == 0 { // an image that does not say when it was made
			created, listed = time.Time{}, time.Time{}.Unix()
		}
		s.Images[id] = state.Image{ID: id, RepoTags: refs.tags, RepoDigests: refs.digests, CreatedAt: created, Size: 123456789 * int64(n)}
		keys = append(keys, id)
		summaries = append(summaries, image.Summary{
			ID: id, RepoTags: refs.tags, RepoDigests: refs.digests, Created: listed, Size: 123456789 * int64(n), SharedSize: -1,
		})
	}
	k := Images()
	for _, trunc := range []bool{true, false} {
		for _, format := range []string{"table", "json", "{{.Repository}} {{.Tag}} {{.Digest}} {{.ID}}", "{{.CreatedAt}} {{.Size}} {{.Containers}}"} {
			o := testOptions(format)
			o.NoTrunc = !trunc
			got := rendered(t, k, newView(s, o, time.Now()), o, keys)
			var want bytes.Buffer
			ctx := formatter.ImageContext{Context: formatter.Context{Output: &want, Format: formatter.NewImageFormat(format, false, false), Trunc: trunc}}
			if err := formatter.ImageWrite(ctx, summaries); err != nil {
				t.Fatal(err)
			}
			sameOutput(t, format, got, want.String())
		}
	}
}

// Docker knows when something was created to the second, and shows its age by that.
func TestCreatedSince(t *testing.T) {
	now := time.Date(2026, 1, 1, 12, 0, 30, 2e8, time.UTC)
	v := &view{now: now}
	if got := v.ago(listed(now.Add(-29300 * time.Millisecond))); got != "30 seconds ago" {
		t.Errorf("created %s, docker says 30 seconds ago", got)
	}
}

// Docker before 29 has a placeholder more.
func TestVirtualSize(t *testing.T) {
	s := &state.State{Images: map[string]state.Image{"sha256:1": {ID: "sha256:1", Size: 5_780_000}}}
	o := testOptions("table {{.VirtualSize}}")
	if got := rendered(t, Images(), newView(s, o, time.Now()), o, []string{"sha256:1"}); got != "SIZE\n5.78MB\n" {
		t.Errorf("got %q", got)
	}
}

func TestVolumesAsDocker(t *testing.T) {
	v := state.Volume{Name: "data", Driver: "local", Scope: "local", Mountpoint: "/m", Labels: map[string]string{"b": "2", "a": "1"}}
	s := &state.State{Volumes: map[string]state.Volume{"data": v}}
	for _, format := range []string{"table", "json", `{{.Name}} {{.Label "b"}}`} {
		o := testOptions(format)
		got := rendered(t, Volumes(), newView(s, o, time.Now()), o, []string{"data"})
		var want bytes.Buffer
		ctx := formatter.Context{Output: &want, Format: formatter.NewVolumeFormat(format, false)}
		err := formatter.VolumeWrite(ctx, []volume.Volume{{Name: v.Name, Driver: v.Driver, Scope: v.Scope, Mountpoint: v.Mountpoint, Labels: v.Labels}})
		if err != nil {
			t.Fatal(err)
		}
		sameOutput(t, format, got, want.String())
	}
}

// The texts are moby's, of daemon/container/state.go.
func TestStatus(t *testing.T) {
	now := time.Now()
	v := &view{now: now}
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	for _, test := range []struct {
		c    state.Container
		want string
	}{
		{state.Container{State: state.StateCreated}, "Created"},
		{state.Container{State: state.StateRunning, Health: state.HealthNone, StartedAt: ago(3 * time.Minute)}, "Up 3 minutes"},
		{state.Container{State: state.StateRunning, Health: state.HealthHealthy, StartedAt: ago(3 * time.Minute)}, "Up 3 minutes (healthy)"},
		{state.Container{State: state.StateRunning, Health: state.HealthUnhealthy, StartedAt: ago(time.Second)}, "Up 1 second (unhealthy)"},
		{state.Container{State: state.StateRunning, Health: state.HealthStarting, StartedAt: ago(0)}, "Up Less than a second (health: starting)"},
		{state.Container{State: state.StatePaused, Health: state.HealthHealthy, StartedAt: ago(time.Hour)}, "Up About an hour (Paused)"},
		{state.Container{State: state.StateRestarting, ExitCode: 1, FinishedAt: ago(5 * time.Second)}, "Restarting (1) 5 seconds ago"},
		{state.Container{State: state.StateExited, ExitCode: 137, FinishedAt: ago(50 * time.Hour)}, "Exited (137) 2 days ago"},
		{state.Container{State: state.StateExited}, ""},
		{state.Container{State: state.StateDead}, "Dead"},
		{state.Container{State: state.StateRemoving}, "Removal In Progress"},
		{state.Container{State: state.StateUnknown}, ""},
	} {
		if got := v.status(&test.c); got != test.want {
			t.Errorf("status of %s: %q, want %q", test.c.State, got, test.want)
		}
	}
}

// In containerd an image's id is its digest. The engine lists it in one repository and
// finds it in each that it has a tag in.
func TestImageByDigest(t *testing.T) {
	s := &state.State{Images: map[string]state.Image{
		digest:     {ID: digest, RepoTags: []string{"app:1", "example.org/app:2"}, RepoDigests: []string{"example.org/app@" + digest}},
		"sha256:b": {ID: "sha256:b", RepoTags: []string{"graph:1"}, RepoDigests: []string{"graph@sha256:c"}},
	}}
	v := newView(s, testOptions("table"), time.Now())
	for ref, want := range map[string]string{
		"app@" + digest: digest, "docker.io/library/app@" + digest: digest, "app:1@" + digest: digest, "example.org/app@" + digest: digest,
		"other@" + digest: "", "@" + digest: "", "graph@sha256:b": "", "graph@sha256:c": "sha256:b",
	} {
		if got := v.resolve(ref); got != want {
			t.Errorf("%s: %q, want %q", ref, got, want)
		}
	}
	if id, ref := ImageReference(s, "app@"+digest); id != digest || ref != "app@"+digest {
		t.Errorf("ImageReference: %q, %q", id, ref)
	}
	q, err := NewQuery(Images(), []string{"app@" + digest}, testOptions("{{.Repository}}"))
	var out strings.Builder
	if err == nil {
		err = q.Write(&out, s, time.Now())
	}
	if want := "app\nexample.org/app\n"; err != nil || out.String() != want {
		t.Errorf("the list of it: %q (%v), want %q", out.String(), err, want)
	}
}

// An image that only others were made from is not listed, but it can be.
func TestIntermediateImages(t *testing.T) {
	s := &state.State{Images: map[string]state.Image{
		"sha256:a": {ID: "sha256:a"},
		"sha256:b": {ID: "sha256:b", Parent: "sha256:a", RepoTags: []string{"app:1"}},
		"sha256:c": {ID: "sha256:c", Parent: "sha256:b"},
	}}
	k := Images()
	v := newView(s, testOptions("table"), time.Now())
	if diff := cmp.Diff([]string{"sha256:b", "sha256:c"}, v.withoutIntermediate(k.keys(s))); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"sha256:a", "sha256:b", "sha256:c"}, k.keys(s)); diff != "" {
		t.Error(diff)
	}
}

func TestByID(t *testing.T) {
	objects := map[string]int{"abc1": 0, "abc2": 0, "abc": 0, "sha256:abd1": 0, "sha256:ffff": 0, "ns/sha256:eeee": 0}
	for word, want := range map[string]int{
		"abc": 1, "abc1": 1, "a": 4, "abd": 1, "sha256:ffff": 1, "sha256:f": 1, "sha256:": 0, "md5:f": 0, "ns/e": 1, "ns/": 0, "ns/sha256:": 0, "x": 0, "": 0, "sha256:abc": 0,
	} {
		if got := byID(objects, word); len(got) != want {
			t.Errorf("byID(%q) = %v, want %d", word, got, want)
		}
	}
}

// A name may look like an id, and be another's.
func TestFind(t *testing.T) {
	s := &state.State{Containers: map[string]state.Container{}}
	for id, name := range map[string]string{"abc": "web", "def": "abc", "fed": "de", "dec": "same", "ced": "same"} {
		s.Containers[id] = state.Container{ID: id, Name: name}
	}
	for word, want := range map[string]string{"abc": "abc", "web": "abc", "/web": "abc", "de": "fed", "d": "dec def", "same": "ced dec", "x": "", "": ""} {
		found := Containers().Find(s, word)
		slices.Sort(found)
		if got := strings.Join(found, " "); got != want {
			t.Errorf("%q finds %q, want %q", word, got, want)
		}
	}
}

func FuzzCanShorten(f *testing.F) {
	for _, ref := range []string{"app", "app:1", "library/app", "docker.io/app:1", "index.docker.io/library/app", "example.org:5000/a/b:c", "app@" + digest, "APP", strings.Repeat("b", 64), "docker.io", "localhost/library/x"} {
		f.Add(ref)
	}
	f.Fuzz(func(t *testing.T, ref string) {
		if short := shortReference(ref); short != ref && !canShorten(ref) {
			t.Errorf("%q can be shortened to %q", ref, short)
		}
	})
}

// What docker's lists do not tell is there for templates.
func TestOwnFields(t *testing.T) {
	compose := &state.Compose{Project: "shop", Service: "web"}
	v := &view{now: time.Now(), users: func() map[string]int64 { return nil }, State: &state.State{
		Containers: map[string]state.Container{"c": {
			ID: "c", Entrypoint: []string{"/init"}, Cmd: []string{"serve", "all"}, User: "www", AutoRemove: true, Compose: compose,
			PortBindings: []state.Port{{ContainerPort: 80, Protocol: "tcp", HostIP: "127.0.0.1", HostPort: 8080}},
			Limits:       &state.Limits{Memory: 256 << 20, NanoCPUs: 15e8, CpusetCpus: "0-1", PidsLimit: 9},
			HealthCheck:  &state.HealthCheck{LastOutput: "no\n"}, Action: &state.Action{Action: "stop"},
			Usage: &state.ContainerUsage{SizeRw: 10, SizeRootFs: 2000},
		}, "d": {ID: "d", Limits: &state.Limits{CPUQuota: 50, CPUPeriod: 100}}},
		Images: map[string]state.Image{"i": {
			ID: "i", OS: "linux", Architecture: "arm", Variant: "v7", LayerCount: 3, ExposedPorts: []string{"80/tcp"}, Volumes: []string{"/data"},
			Size: 1500, Usage: &state.ImageUsage{SharedSize: 500},
		}},
		Volumes: map[string]state.Volume{"v": {Name: "v", Compose: compose, Usage: &state.VolumeUsage{Size: 1000}}},
		Networks: map[string]state.Network{"n": {
			ID: "n", Subnets: []string{"10.0.0.0/8", "fd00::/64"}, Gateways: []string{"10.0.0.1", ""}, Attachable: true,
			Options: map[string]string{"o": "1"}, Compose: compose,
		}},
	}}
	for _, test := range []struct {
		kind              *Kind
		key, format, want string
	}{
		{Containers(), "c", "{{.Entrypoint}}|{{.Cmd}}|{{.User}}|{{.AutoRemove}}|{{.Project}}|{{.Service}}", "/init|serve all|www|true|shop|web"},
		{Containers(), "c", "{{.PortBindings}}|{{.Limits}}", "127.0.0.1:8080->80/tcp|memory=256MiB,cpus=1.5,cpuset=0-1,pids=9"},
		{Containers(), "c", "{{.HealthOutput}}|{{.Action}}|{{.Size}}", "no|stop|10B (virtual 2kB)"},
		{Containers(), "d", "{{.Limits}}|{{.Project}}|{{.Service}}|{{.HealthOutput}}|{{.Action}}|{{.Size}}", "cpus=0.5|||||N/A"},
		{Images(), "i", "{{.Platform}}|{{.Layers}}|{{.ExposedPorts}}|{{.Volumes}}|{{.SharedSize}}|{{.UniqueSize}}", "linux/arm/v7|3|80/tcp|/data|500B|1kB"},
		{Volumes(), "v", "{{.Project}}|{{.Size}}", "shop|1kB"},
		{Networks(), "n", "{{.Subnets}}|{{.Gateways}}|{{.Attachable}}|{{.Options}}|{{.Project}}", "10.0.0.0/8,fd00::/64|10.0.0.1,|true|o=1|shop"},
	} {
		if got := rendered(t, test.kind, v, testOptions(test.format), []string{test.key}); got != test.want+"\n" {
			t.Errorf("%s of %s is %q, want %q", test.format, test.key, got, test.want)
		}
	}
}

package mirror

import (
	"cmp"
	"crypto/sha256"
	jsonv1 "encoding/json"
	"fmt"
	"net"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/image"
	"github.com/moby/moby/api/types/network"
	dockervolume "github.com/moby/moby/api/types/volume"

	"github.com/docker-rd/docker-rd/internal/test/jsontest"
	"github.com/docker-rd/docker-rd/mirror/state"
)

// What the engine's answers are read as is what docker's own types make of them.

// sampleAnswers are of every shape that is read: with all there is, with nothing, with null for
// everything, with odd strings, and with what nobody asked for.
var sampleAnswers = []string{
	`{}`,
	`{"Id":"c","Names":["/web/db","/db"],"Image":"app:1","ImageID":"sha256:1","Command":"sh","Created":1700000000,
	  "Ports":[{"IP":"0.0.0.0","PrivatePort":80,"PublicPort":8080,"Type":"tcp"},{"PrivatePort":53,"Type":"udp"}],"SizeRw":12345678901234567890,
	  "Labels":{"a":"b","\u00fc":"<\"&>"},"State":"running","Status":"Up 5 minutes (healthy)","HostConfig":{"NetworkMode":"default"},
	  "NetworkSettings":{"Networks":{"b":{"NetworkID":"n","IPAddress":"172.17.0.2","GlobalIPv6Address":"fd00::2","DNSNames":["x"]},"a":null}},
	  "Mounts":[{"Type":"volume","Name":"v","Source":"/s","Destination":"/d","RW":true},{"Type":"bind","Source":"/","Destination":"/b","RW":false}]}`,
	`{"Id":"c","Status":"Up (unhealthy)","Health":{"Status":"starting","FailingStreak":1},"Labels":null,"Ports":null,"Mounts":null,"NetworkSettings":null,"Names":null}`,
	`{"Id":"c","Status":"Up (unhealthy)","Health":{}}`,
	`{"Id":"c","Names":[],"NetworkSettings":{"Networks":null},"Status":"Up 1 second (health: starting)","Created":-62135596800}`,
	`{"Id":"c","Created":9223372036854775807,"Name":"c"}`,
	`{"Id":"c","Name":"c","CreatedAt":"9999-12-31T23:59:59-10:00","Created":"9999-12-31T23:59:59-10:00"}`,
	`{"Id":"c","Created":"2026-01-02T03:04:05.678901234+02:00","Path":"sh","Args":["-c","echo \"\u2028 ü\" > /x"],
	  "State":{"Status":"exited","Running":false,"Pid":0,"ExitCode":-1,"Error":"no\nway","OOMKilled":true,"StartedAt":"2026-01-02T03:04:05Z","FinishedAt":"0001-01-01T00:00:00Z",
	           "Health":{"Status":"unhealthy","FailingStreak":2,"Log":[{"ExitCode":1,"Output":"no"},null,{"ExitCode":2,"Output":"{\"State\":1}"}]}},
	  "Image":"sha256:1","Name":"/n","RestartCount":3,"HostConfig":{"Memory":9223372036854775807,"RestartPolicy":{"Name":"on-failure","MaximumRetryCount":5},"Binds":null,
	  "AutoRemove":true,"PortBindings":{"80/tcp":[{"HostIp":"127.0.0.1","HostPort":"8080"},{"HostIp":"","HostPort":""}],"81/tcp":[],"82/udp":null,"83/tcp":[{"HostPort":"90-99"}]},
	  "MemorySwap":-1,"MemoryReservation":5,"NanoCpus":1500000000,"CpuShares":2,"CpuPeriod":3,"CpuQuota":4,"CpusetCpus":"0-1","PidsLimit":7},
	  "Config":{"Env":["SECRET=1"],"Image":"app","Entrypoint":["/init"],"Cmd":["a","b c"],"User":"0:0",
	    "Labels":{"k":"v","com.docker.compose.project":"p","com.docker.compose.service":"s"},"ExposedPorts":{"80/tcp":{},"53/UDP":{},"9":{}},"Healthcheck":{"Interval":1e3}},
	  "NetworkSettings":{"Ports":{"80/tcp":[{"HostIp":"","HostPort":"8080"},{"HostIp":"::","HostPort":"x"}],"53/UDP":null,"9/sctp":[]},"Networks":{"x":{"Gateway":"10.0.0.1","IPv6Gateway":"fd00::1","MacAddress":"02:42:ac:11:00:02","Aliases":["b","a"]}}},
	  "Mounts":[{"Type":"tmpfs","Source":"","Destination":"/b","RW":true},{"Destination":"/a"}],"GraphDriver":{"Data":{"a":null}}}`,
	`{"Id":"c","State":null,"HostConfig":null,"Config":null,"NetworkSettings":null,"Mounts":null,"Args":null,"Created":"","Name":null}`,
	`{"Id":"c","State":{"Health":null,"Status":"stopped"},"HostConfig":{"RestartPolicy":{"Name":""}},"Config":{"Labels":null}}`,
	`{"Id":"sha256:1","ParentId":"sha256:0","RepoTags":["<none>:<none>"],"RepoDigests":["b@sha256:1","a@sha256:1","<none>@<none>"],"Created":1700000000,"Size":99,
	  "VirtualSize":99,"SharedSize":-1,"Labels":{"a":""},"Containers":-1,"Architecture":"arm64","Os":"linux"}`,
	`{"Id":"sha256:1","Architecture":"arm","Variant":"v7","Os":"linux","RootFS":{"Type":"layers","Layers":["sha256:a","sha256:b"]},
	  "Config":{"ExposedPorts":{"80/tcp":{},"443/tcp":{}},"Volumes":{"/v":{},"/a":{}},"Env":["X=1"]}}`,
	`{"Id":"sha256:1","Config":null,"RootFS":null}`,
	`{"Id":"c","State":{"Health":{"Status":"none"}},"HostConfig":{"PidsLimit":-1},"Config":{"Cmd":null,"Entrypoint":null,"Labels":{"com.docker.compose.service":"s"}}}`,
	`{"Id":"c","State":{"Health":{"Status":"healthy","Log":[{"ExitCode":1,"Output":"no"},{"ExitCode":0,"Output":"ok"}]}},"HostConfig":{"PidsLimit":null}}`,
	`{"Id":"sha256:1","RepoTags":["b:1","a:1"],"RepoDigests":null,"Labels":null,"Architecture":"","Created":"2026-01-02T03:04:05Z"}`,
	`{"Name":"v","Driver":"local","Mountpoint":"/m","Scope":"local","CreatedAt":"2026-01-02T03:04:05+01:00","Labels":{"a":"b"},"Options":{"o":"bind"},"UsageData":{"Size":-1}}`,
	`{"Name":"v","CreatedAt":"yesterday","Labels":null,"Options":null,"Status":{"x":[[[{}]]]}}`,
	`{"Name":"n","Id":"n","Created":"2026-01-02T03:04:05.6Z","Scope":"local","Driver":"bridge","EnableIPv6":true,"Internal":true,"Attachable":true,"Options":{"o":"1"},"Labels":{"a":"b","com.docker.compose.project":"p"},
	  "IPAM":{"Driver":"default","Options":null,"Config":[{"Subnet":"10.0.0.0/8","Gateway":"10.0.0.1"},{"Subnet":""},{},{"Subnet":"fd00::/64"}]},"Containers":{}}`,
	`{"Name":"n","Id":"n","IPAM":{"Config":null},"Labels":null}`,
	`{"Name":"n","Id":"n","IPAM":null}`,
	`null`,
	`[]`,
	"{\"Id\":\"\xff\xfe\",\"Name\":\"a\\ud800b\\u0000\"}",
}

// readers read one object each, as we do and with docker's type.
var readers = map[string]struct {
	docker reflect.Type
	read   func(text string) (any, error)
	want   func(docker any) any
}{
	"listed container": {
		reflect.TypeFor[container.Summary](),
		reader(listedContainer.object),
		func(d any) any { return dockerListed(*d.(*container.Summary)) },
	},
	"container": {
		reflect.TypeFor[container.InspectResponse](),
		reader(inspectedContainer.object),
		func(d any) any { return dockerInspected(*d.(*container.InspectResponse)) },
	},
	"listed image": {
		reflect.TypeFor[image.Summary](),
		reader(listedImage.object),
		func(d any) any { return dockerImage(*d.(*image.Summary)) },
	},
	"image": {
		reflect.TypeFor[image.InspectResponse](),
		reader(func(a inspectedImage) (state.Image, error) { return applied(a), nil }),
		func(d any) any { return applied(dockerImageDetails(*d.(*image.InspectResponse))) },
	},
	"volume": {
		reflect.TypeFor[dockervolume.Volume](),
		reader(volume.object),
		func(d any) any { return dockerVolume(*d.(*dockervolume.Volume)) },
	},
	"network": {
		reflect.TypeFor[network.Network](),
		reader(listedNetwork.object),
		func(d any) any { return dockerNetwork(*d.(*network.Network)) },
	},
}

// reader reads an answer and makes an object of it.
func reader[A, T any](convert func(A) (T, error)) func(text string) (any, error) {
	return func(text string) (any, error) {
		var answer A
		if err := json.Unmarshal([]byte(text), &answer, liberal); err != nil {
			return nil, err
		}
		return convert(answer)
	}
}

func applied(a inspectedImage) (i state.Image) {
	a.complete(&i)
	return i
}

func FuzzAnswers(f *testing.F) {
	for _, text := range sampleAnswers {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for name, r := range readers {
			got, err := r.read(text)
			docker := reflect.New(r.docker)
			if jsonv1.Unmarshal([]byte(text), docker.Interface()) != nil {
				if err == nil && !jsonv1.Valid([]byte(text)) {
					t.Errorf("%s: what is no JSON was taken", name)
				}
				continue
			}
			if !jsontest.Plain(text, r.docker) {
				continue
			}
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			want, have := encoded(t, r.want(docker.Interface())), encoded(t, canonical(got))
			if have != want {
				t.Errorf("%s is\n%s\nwant\n%s", name, have, want)
			}
		}
	})
}

func encoded(t *testing.T, object any) string {
	t.Helper()
	text, err := json.Marshal(object, json.Deterministic(true), jsontext.AllowInvalidUTF8(true))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// canonical writes addresses as docker's types do. Engines do so already.
func canonical(object any) any {
	ip := func(s *string) {
		if a, err := netip.ParseAddr(*s); err == nil {
			*s = a.String()
		}
	}
	switch o := object.(type) {
	case state.Container:
		for i := range o.Ports {
			ip(&o.Ports[i].HostIP)
		}
		for i := range o.PortBindings {
			ip(&o.PortBindings[i].HostIP)
		}
		sortPorts(o.PortBindings)
		for i := range o.Networks {
			n := &o.Networks[i]
			for _, address := range []*string{&n.IPAddress, &n.IPv6Address, &n.Gateway, &n.IPv6Gateway} {
				ip(address)
			}
			if mac, err := net.ParseMAC(n.MacAddress); err == nil {
				n.MacAddress = mac.String()
			}
		}
		sortPorts(o.Ports)
		o.Namespace = ""
		return o
	case state.Image:
		o.Namespace = ""
		return o
	case state.Volume:
		o.Namespace = ""
		return o
	case state.Network:
		o.Namespace = ""
		for i := range o.Gateways {
			ip(&o.Gateways[i])
		}
		for i, s := range o.Subnets {
			if p, err := netip.ParsePrefix(s); err == nil {
				o.Subnets[i] = p.String()
			}
		}
		return o
	}
	return object
}

// Wrong values matter only where they are read.
func TestAnswersWithOddities(t *testing.T) {
	read := reader(inspectedContainer.object)
	for _, odd := range []string{`1e999`, `"x"`, `[{"a":[]}]`, `{"State":{"Pid":"no"}}`, `null`, `-0.5E-7`, `"\ud800"`} {
		c, err := read(`{"Unknown":` + odd + `,"HostConfig":{"Unknown":` + odd + `},"Id":"c","Config":{"Env":` + odd + `}}`)
		if err != nil || c.(state.Container).ID != "c" {
			t.Errorf("with %s: %+v, %v", odd, c, err)
		}
	}
	for _, wrong := range []string{
		`{"Id":1}`, `{"Id":"c","State":{"Pid":"1"}}`, `{"Id":"c","RestartCount":1.5}`, `{"Id":"c","RestartCount":99999999999999999999}`,
		`{"Id":"c","Mounts":{}}`, `{"Id":"c","NetworkSettings":{"Ports":{"x":null}}}`, `{"Id":"c"`, `{"Id":"c",}`, `{"Id":"c"}}`, ``, `<html>`,
	} {
		if c, err := read(wrong); err == nil {
			t.Errorf("%s was taken: %+v", wrong, c)
		}
	}
}

// listedContainer converts what the list call knows: no details of the run.
func dockerListed(c container.Summary) state.Container {
	out := state.Container{
		ID:        c.ID,
		Name:      ownName(c.Names),
		Image:     c.ImageID,
		ImageRef:  c.Image,
		Labels:    c.Labels,
		Compose:   dockerCompose(c.Labels),
		State:     ContainerState(string(c.State)),
		Health:    dockerHealth(c),
		CreatedAt: unixTime(c.Created),
		Mounts:    dockerMounts(c.Mounts),
	}
	for _, p := range c.Ports {
		out.Ports = append(out.Ports, state.Port{
			ContainerPort: p.PrivatePort,
			Protocol:      p.Type,
			HostIP:        addr(p.IP),
			HostPort:      p.PublicPort,
		})
	}
	sortPorts(out.Ports)
	if c.NetworkSettings != nil {
		out.Networks = dockerAttachments(c.NetworkSettings.Networks)
	}
	return out
}

// inspectedContainer converts what the inspection knows: everything.
func dockerInspected(c container.InspectResponse) state.Container {
	out := state.Container{
		ID:           c.ID,
		Name:         strings.TrimPrefix(c.Name, "/"),
		Image:        c.Image,
		Path:         c.Path,
		Args:         c.Args,
		State:        state.StateUnknown,
		Health:       state.HealthNone,
		RestartCount: c.RestartCount,
		CreatedAt:    ParseTime(c.Created),
		Mounts:       dockerMounts(c.Mounts),
	}
	if c.Config != nil {
		out.ImageRef, out.Labels = c.Config.Image, c.Config.Labels
		out.Compose = dockerCompose(c.Config.Labels)
		out.Entrypoint, out.Cmd, out.User = c.Config.Entrypoint, c.Config.Cmd, c.Config.User
		for port := range c.Config.ExposedPorts {
			out.ExposedPorts = append(out.ExposedPorts, port.String())
		}
		slices.Sort(out.ExposedPorts)
	}
	if s := c.State; s != nil {
		out.State = ContainerState(string(s.Status))
		out.PID, out.ExitCode, out.Error, out.OOMKilled = s.Pid, s.ExitCode, s.Error, s.OOMKilled
		out.StartedAt, out.FinishedAt = ParseTime(s.StartedAt), ParseTime(s.FinishedAt)
		if s.Health != nil && s.Health.Status != "" {
			out.Health = string(s.Health.Status)
			if s.Health.Status != "none" {
				out.HealthCheck = &state.HealthCheck{FailingStreak: s.Health.FailingStreak}
				if n := len(s.Health.Log); n > 0 && s.Health.Log[n-1] != nil && s.Health.Log[n-1].ExitCode != 0 {
					out.HealthCheck.LastOutput = s.Health.Log[n-1].Output
				}
			}
		}
	}
	out.RestartPolicy.Name = "no"
	if h := c.HostConfig; h != nil {
		out.RestartPolicy.Name = cmp.Or(string(h.RestartPolicy.Name), "no")
		out.RestartPolicy.MaximumRetryCount = h.RestartPolicy.MaximumRetryCount
		out.AutoRemove = h.AutoRemove
		limits := state.Limits{
			Memory: h.Memory, MemoryReservation: h.MemoryReservation, MemorySwap: h.MemorySwap, NanoCPUs: h.NanoCPUs,
			CPUShares: h.CPUShares, CPUPeriod: h.CPUPeriod, CPUQuota: h.CPUQuota, CpusetCpus: h.CpusetCpus,
		}
		if h.PidsLimit != nil && *h.PidsLimit > 0 {
			limits.PidsLimit = *h.PidsLimit
		}
		if limits != (state.Limits{}) {
			out.Limits = &limits
		}
		for port, bindings := range h.PortBindings {
			for _, b := range bindings {
				hostPort, _ := strconv.ParseUint(b.HostPort, 10, 16)
				out.PortBindings = append(out.PortBindings, state.Port{
					ContainerPort: port.Num(), Protocol: string(port.Proto()), HostIP: addr(b.HostIP), HostPort: uint16(hostPort),
				})
			}
		}
		sortPorts(out.PortBindings)
	}
	if n := c.NetworkSettings; n != nil {
		out.Networks = dockerAttachments(n.Networks)
		for port, bindings := range n.Ports {
			p := state.Port{ContainerPort: port.Num(), Protocol: string(port.Proto())}
			if len(bindings) == 0 {
				out.Ports = append(out.Ports, p)
			}
			for _, b := range bindings {
				hostPort, _ := strconv.ParseUint(b.HostPort, 10, 16)
				p.HostIP, p.HostPort = addr(b.HostIP), uint16(hostPort)
				out.Ports = append(out.Ports, p)
			}
		}
		sortPorts(out.Ports)
	}
	return out
}

// listedHealth is empty where the list call says nothing about it: engines before
// API 1.52 only do in the text for people.
func dockerHealth(c container.Summary) string {
	if c.Health != nil && c.Health.Status != "" {
		return string(c.Health.Status)
	}
	switch {
	case strings.HasSuffix(c.Status, "(healthy)"):
		return state.HealthHealthy
	case strings.HasSuffix(c.Status, "(unhealthy)"):
		return state.HealthUnhealthy
	case strings.HasSuffix(c.Status, "(health: starting)"):
		return state.HealthStarting
	}
	return ""
}

func dockerCompose(labels map[string]string) *state.Compose {
	if p := labels["com.docker.compose.project"]; p != "" {
		return &state.Compose{Project: p, Service: labels["com.docker.compose.service"]}
	}
	return nil
}

func dockerMounts(in []container.MountPoint) []state.Mount {
	var out []state.Mount
	for _, m := range in {
		out = append(out, state.Mount{
			Type:        string(m.Type),
			Name:        m.Name,
			Source:      m.Source,
			Destination: m.Destination,
			ReadOnly:    !m.RW,
		})
	}
	slices.SortStableFunc(out, func(a, b state.Mount) int { return cmp.Compare(a.Destination, b.Destination) })
	return out
}

func dockerAttachments(in map[string]*network.EndpointSettings) []state.Attachment {
	var out []state.Attachment
	for name, e := range in {
		a := state.Attachment{Name: name}
		if e != nil {
			a.ID, a.IPAddress, a.IPv6Address = e.NetworkID, addr(e.IPAddress), addr(e.GlobalIPv6Address)
			a.Gateway, a.IPv6Gateway, a.MacAddress, a.Aliases = addr(e.Gateway), addr(e.IPv6Gateway), e.MacAddress.String(), e.Aliases
		}
		out = append(out, a)
	}
	slices.SortFunc(out, func(a, b state.Attachment) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

func dockerImage(i image.Summary) state.Image {
	return state.Image{
		ID:          i.ID,
		Parent:      i.ParentID,
		RepoTags:    references(i.RepoTags),
		RepoDigests: references(i.RepoDigests),
		CreatedAt:   unixTime(i.Created),
		Size:        i.Size,
		Labels:      i.Labels,
	}
}

func dockerImageDetails(i image.InspectResponse) inspectedImage {
	out := inspectedImage{Architecture: i.Architecture, Variant: i.Variant, Os: i.Os, Created: i.Created}
	out.RootFS.Layers = i.RootFS.Layers
	if i.Config != nil {
		out.Config.ExposedPorts, out.Config.Volumes = i.Config.ExposedPorts, i.Config.Volumes
	}
	return out
}

func dockerVolume(v dockervolume.Volume) state.Volume {
	return state.Volume{
		Name:       v.Name,
		Driver:     v.Driver,
		Mountpoint: v.Mountpoint,
		Scope:      v.Scope,
		CreatedAt:  ParseTime(v.CreatedAt),
		Labels:     v.Labels,
		Options:    v.Options,
		Compose:    dockerCompose(v.Labels),
	}
}

func dockerNetwork(n network.Network) state.Network {
	out := state.Network{
		ID:         n.ID,
		Name:       n.Name,
		Driver:     n.Driver,
		Scope:      n.Scope,
		Internal:   n.Internal,
		IPv6:       n.EnableIPv6,
		Attachable: n.Attachable, Options: n.Options, Compose: dockerCompose(n.Labels),
		Labels:    n.Labels,
		CreatedAt: ParseTime(n.Created.Format(time.RFC3339Nano)),
	}
	for _, c := range n.IPAM.Config {
		if c.Subnet.IsValid() {
			out.Subnets = append(out.Subnets, c.Subnet.String())
			out.Gateways = append(out.Gateways, addr(c.Gateway))
		}
	}
	return out
}

// addr is the address as text, empty for none.
func addr(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

// What was read of one answer stays as it is while others are read.
func TestAnswersShareNoMemory(t *testing.T) {
	first, err := reader(inspectedContainer.object)(`{"Id":"c","Config":{"Labels":{"first\u002dkey":"value"}},"NetworkSettings":{"Networks":{"n\u0031":{}},"Ports":{"80/tcp":null}}}`)
	if err != nil {
		t.Fatal(err)
	}
	for range 100 {
		if _, err := reader(inspectedContainer.object)(`{"Id":"d","Config":{"Labels":{"other\u002dkeys":"XXXXX"}},"NetworkSettings":{"Networks":{"m\u0032":{}},"Ports":{"99/udp":null}}}`); err != nil {
			t.Fatal(err)
		}
	}
	c := first.(state.Container)
	if c.Labels["first-key"] != "value" || c.Networks[0].Name != "n1" || c.Ports[0].ContainerPort != 80 {
		t.Errorf("the container is %+v", c)
	}
}

// Podman's default network is made anew, for who asks, with each start of podman.
func TestPodmanDefaultNetwork(t *testing.T) {
	if id := fmt.Sprintf("%x", sha256.Sum256([]byte("podman"))); id != podmanDefault {
		t.Errorf("its id is %s", id)
	}
	for id, dated := range map[string]bool{podmanDefault: false, "another": true} {
		n, err := listedNetwork{ID: id, Created: "2026-01-02T03:04:05Z"}.object()
		if err != nil || n.CreatedAt.IsZero() == dated {
			t.Errorf("network %s was created at %s, %v", id, n.CreatedAt, err)
		}
	}
}

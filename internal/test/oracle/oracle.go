// Package oracle tells what a state file should hold of an engine, for tests. It
// asks the engine by plain HTTP and reads its answers field by field, sharing no code
// with the mirror, so that neither's mistakes hide the other's.
package oracle

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/docker-rd/docker-rd/internal/files"
	"github.com/docker-rd/docker-rd/internal/test/fakeengine"
)

// An Oracle asks one engine.
type Oracle struct {
	http *http.Client
}

// New returns an oracle for the engine that listens on a unix socket. Close it.
func New(socket string) *Oracle {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return fakeengine.Dial(ctx, socket)
	}
	return &Oracle{http: &http.Client{Transport: &http.Transport{DialContext: dial, MaxIdleConnsPerHost: 8}}}
}

// Close closes idle connections.
func (o *Oracle) Close() { o.http.CloseIdleConnections() }

// Objects are the objects of an engine by kind and key, each by field, as JSON has
// them.
type Objects map[string]map[string]map[string]any

// errGone says that an object went while it was looked at.
var errGone = errors.New("gone")

// Expect returns what the mirror should hold. While the engine is busy, parts of it
// may be of different moments.
func (o *Oracle) Expect(ctx context.Context) (Objects, error) {
	out := Objects{"namespaces": {"moby": {"name": "moby"}}}
	g, ctx := errgroup.WithContext(ctx)
	kinds := map[string]func(context.Context) (map[string]map[string]any, error){
		"containers": o.containers, "images": o.images, "volumes": o.volumes, "networks": o.networks,
	}
	results := make(map[string]*map[string]map[string]any)
	for kind, list := range kinds {
		r := new(map[string]map[string]any)
		results[kind] = r
		g.Go(func() (err error) {
			*r, err = list(ctx)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	for kind, r := range results {
		out[kind] = *r
	}
	return out, nil
}

func (o *Oracle) get(ctx context.Context, path string, v any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://engine"+path, nil)
	if err != nil {
		return err
	}
	resp, err := o.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode == http.StatusNotFound {
		return fmt.Errorf("%s: %w", path, errGone)
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s: %s", path, resp.Status, body)
	}
	return json.Unmarshal(body, v)
}

type object = map[string]any

// each fetches the objects of a list, a few at a time.
func (o *Oracle) each(ctx context.Context, ids []string, fetch func(context.Context, string) (object, error)) (map[string]object, error) {
	objects := make([]object, len(ids))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(8)
	for i, id := range ids {
		g.Go(func() (err error) {
			objects[i], err = fetch(ctx, id)
			if errors.Is(err, errGone) {
				return nil
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	out := map[string]object{}
	for i, id := range ids {
		if objects[i] != nil {
			out[id] = objects[i]
		}
	}
	return out, nil
}

func (o *Oracle) containers(ctx context.Context) (map[string]object, error) {
	var list []object
	if err := o.get(ctx, "/containers/json?all=1", &list); err != nil {
		return nil, err
	}
	return o.each(ctx, keys(list, "Id"), func(ctx context.Context, id string) (object, error) {
		var c object
		if err := o.get(ctx, "/containers/"+id+"/json", &c); err != nil {
			return nil, err
		}
		health := str(c, "State", "Health", "Status")
		if health == "" {
			health = "none"
		}
		restart := str(c, "HostConfig", "RestartPolicy", "Name")
		if restart == "" {
			restart = "no"
		}
		out := object{
			"id": id, "name": strings.TrimPrefix(str(c, "Name"), "/"), "namespace": "moby",
			"image": str(c, "Image"), "imageRef": str(c, "Config", "Image"),
			"path": str(c, "Path"), "args": list0(at(c, "Args")), "labels": map0(at(c, "Config", "Labels")),
			"state": str(c, "State", "Status"), "health": health,
			"pid": num(c, "State", "Pid"), "exitCode": num(c, "State", "ExitCode"), "error": str(c, "State", "Error"),
			"oomKilled": at(c, "State", "OOMKilled") == true, "restartCount": num(c, "RestartCount"),
			"restartPolicy": object{"name": restart, "maximumRetryCount": num(c, "HostConfig", "RestartPolicy", "MaximumRetryCount")},
			"ports":         ports(at(c, "NetworkSettings", "Ports"), true),
			"portBindings":  ports(at(c, "HostConfig", "PortBindings"), false),
			"exposedPorts":  names(at(c, "Config", "ExposedPorts")),
			"entrypoint":    list0(at(c, "Config", "Entrypoint")),
			"cmd":           list0(at(c, "Config", "Cmd")),
			"user":          str(c, "Config", "User"),
			"autoRemove":    at(c, "HostConfig", "AutoRemove") == true,
			"mounts":        mounts(at(c, "Mounts")),
			"networks":      networks(at(c, "NetworkSettings", "Networks")),
		}
		setCompose(out)
		setLimits(out, at(c, "HostConfig"))
		if health != "none" {
			setHealth(out, at(c, "State", "Health"))
		}
		setTime(out, "createdAt", str(c, "Created"))
		setTime(out, "startedAt", str(c, "State", "StartedAt"))
		setTime(out, "finishedAt", str(c, "State", "FinishedAt"))
		return out, nil
	})
}

// setHealth sets how the health checks go, and what the last one wrote where it failed. That the
// streak grows is not compared: it does so all the time while nothing else happens.
func setHealth(out object, health any) {
	output := ""
	if log := list0(at(health, "Log")); len(log) > 0 {
		if last := log[len(log)-1]; num(last, "ExitCode") != 0 {
			output = str(last, "Output")
		}
	}
	out["healthCheck"] = object{"failingStreak": min(1, num(health, "FailingStreak")), "lastOutput": output}
}

func setLimits(out object, host any) {
	limits := object{
		"memory": num(host, "Memory"), "memoryReservation": num(host, "MemoryReservation"), "memorySwap": num(host, "MemorySwap"),
		"nanoCpus": num(host, "NanoCpus"), "cpuShares": num(host, "CpuShares"), "cpuPeriod": num(host, "CpuPeriod"),
		"cpuQuota": num(host, "CpuQuota"), "cpusetCpus": str(host, "CpusetCpus"), "pidsLimit": max(0, num(host, "PidsLimit")),
	}
	for _, limit := range limits {
		if limit != 0.0 && limit != "" {
			out["limits"] = limits
		}
	}
}

// setCompose sets the project and the service that the labels name.
func setCompose(out object) {
	if project := str(out, "labels", "com.docker.compose.project"); project != "" {
		out["compose"] = object{"project": project, "service": str(out, "labels", "com.docker.compose.service")}
	}
}

// names returns the keys of a map as a list.
func names(v any) []any {
	out := []any{}
	for name := range map0(v) {
		out = append(out, name)
	}
	slices.SortFunc(out, func(a, b any) int { return strings.Compare(a.(string), b.(string)) })
	return out
}

func ports(v any, exposed bool) []any {
	out := []any{}
	m, _ := v.(object)
	for key, bindings := range m {
		port, proto, _ := strings.Cut(key, "/")
		n, _ := strconv.ParseFloat(port, 64)
		list, _ := bindings.([]any)
		if exposed && len(list) == 0 {
			out = append(out, object{"containerPort": n, "protocol": proto, "hostIP": "", "hostPort": 0.0})
		}
		for _, b := range list {
			b := b.(object)
			host, _ := strconv.ParseFloat(str(b, "HostPort"), 64)
			out = append(out, object{"containerPort": n, "protocol": proto, "hostIP": str(b, "HostIp"), "hostPort": host})
		}
	}
	sortBy(out, func(o object) string {
		return fmt.Sprintf("%05.0f %s %s %05.0f", o["containerPort"], o["protocol"], o["hostIP"], o["hostPort"])
	})
	return out
}

func mounts(v any) []any {
	out := []any{}
	list, _ := v.([]any)
	for _, m := range list {
		m := m.(object)
		out = append(out, object{
			"type": str(m, "Type"), "name": str(m, "Name"), "source": str(m, "Source"),
			"destination": str(m, "Destination"), "readOnly": at(m, "RW") != true,
		})
	}
	sortBy(out, func(o object) string { return o["destination"].(string) })
	return out
}

func networks(v any) []any {
	out := []any{}
	m, _ := v.(object)
	for name, e := range m {
		e, _ := e.(object)
		out = append(out, object{
			"name": name, "id": str(e, "NetworkID"), "ipAddress": str(e, "IPAddress"), "ipv6Address": str(e, "GlobalIPv6Address"),
			"gateway": str(e, "Gateway"), "ipv6Gateway": str(e, "IPv6Gateway"), "macAddress": str(e, "MacAddress"), "aliases": list0(at(e, "Aliases")),
		})
	}
	sortBy(out, func(o object) string { return o["name"].(string) })
	return out
}

func (o *Oracle) images(ctx context.Context) (map[string]object, error) {
	var list []object
	if err := o.get(ctx, "/images/json?all=1", &list); err != nil {
		return nil, err
	}
	listed := map[string]object{}
	for _, i := range list {
		listed[str(i, "Id")] = i
	}
	return o.each(ctx, slices.Collect(maps.Keys(listed)), func(ctx context.Context, id string) (object, error) {
		var i object
		if err := o.get(ctx, "/images/"+id+"/json", &i); err != nil {
			return nil, err
		}
		l := listed[id]
		out := object{
			"id": id, "namespace": "moby", "parent": str(l, "ParentId"),
			"repoTags": refs(at(l, "RepoTags")), "repoDigests": refs(at(l, "RepoDigests")),
			"size": num(l, "Size"), "architecture": str(i, "Architecture"), "os": str(i, "Os"),
			"labels": map0(at(l, "Labels")), "deletions": object{},
			"variant": str(i, "Variant"), "layerCount": float64(len(list0(at(i, "RootFS", "Layers")))),
			"exposedPorts": names(at(i, "Config", "ExposedPorts")), "volumes": names(at(i, "Config", "Volumes")),
		}
		setTime(out, "createdAt", str(i, "Created"))
		if _, ok := out["createdAt"]; !ok {
			if created := num(l, "Created"); created > 0 {
				setTime(out, "createdAt", time.Unix(int64(created), 0).UTC().Format(time.RFC3339))
			}
		}
		return out, nil
	})
}

func refs(v any) []any {
	out := []any{}
	list, _ := v.([]any)
	for _, r := range list {
		if !strings.HasPrefix(r.(string), "<none>") {
			out = append(out, r)
		}
	}
	slices.SortFunc(out, func(a, b any) int { return strings.Compare(a.(string), b.(string)) })
	return out
}

func (o *Oracle) volumes(ctx context.Context) (map[string]object, error) {
	var answer object
	if err := o.get(ctx, "/volumes", &answer); err != nil {
		return nil, err
	}
	var list []object
	for _, v := range list0(answer["Volumes"]) {
		list = append(list, v.(object))
	}
	return o.each(ctx, keys(list, "Name"), func(ctx context.Context, name string) (object, error) {
		var v object
		if err := o.get(ctx, "/volumes/"+url.PathEscape(name), &v); err != nil {
			return nil, err
		}
		out := object{
			"name": name, "namespace": "moby", "driver": str(v, "Driver"), "mountpoint": str(v, "Mountpoint"),
			"scope": str(v, "Scope"), "labels": map0(v["Labels"]), "options": map0(v["Options"]),
		}
		setCompose(out)
		setTime(out, "createdAt", str(v, "CreatedAt"))
		return out, nil
	})
}

func (o *Oracle) networks(ctx context.Context) (map[string]object, error) {
	var list []object
	if err := o.get(ctx, "/networks", &list); err != nil {
		return nil, err
	}
	names := map[string]string{}
	for _, n := range list {
		names[str(n, "Id")] = str(n, "Name") // podman's default network has another name below
	}
	return o.each(ctx, keys(list, "Id"), func(ctx context.Context, id string) (object, error) {
		var n object
		if err := o.get(ctx, "/networks/"+id, &n); err != nil {
			return nil, err
		}
		subnets, gateways := []any{}, []any{}
		for _, c := range list0(at(n, "IPAM", "Config")) {
			if s := str(c.(object), "Subnet"); s != "" {
				subnets = append(subnets, s)
				// As podman says of an internal network, and moby while it restores one.
				gateways = append(gateways, strings.TrimPrefix(str(c.(object), "Gateway"), "<nil>"))
			}
		}
		out := object{
			"id": id, "name": names[id], "namespace": "moby", "driver": str(n, "Driver"), "scope": str(n, "Scope"),
			"internal": n["Internal"] == true, "ipv6": n["EnableIPv6"] == true, "subnets": subnets, "labels": map0(n["Labels"]),
			"gateways": gateways, "options": map0(n["Options"]), "attachable": n["Attachable"] == true,
		}
		setCompose(out)
		// Podman inspects its default network by another name, and says at each call
		// that it was made just now.
		if names[id] == str(n, "Name") || names[id] != "bridge" {
			setTime(out, "createdAt", str(n, "Created"))
		}
		return out, nil
	})
}

// A Difference is one field, or one object where Field is empty, in which a state file
// differs from what is expected.
type Difference struct{ Kind, ID, Field, text string }

// Untold reports whether the engine sends no event of the difference: a health check could not begin,
// since a container that is linked to does not run.
func (d Difference) Untold() bool {
	return d.Field == "healthCheck" && strings.Contains(d.text, "Cannot link to a non running container")
}

func (d Difference) String() string { return fmt.Sprintf("%s %q: %s", d.Kind, d.ID, d.text) }

// Differences compares the objects of a state file's content with what is expected,
// field by field. Revisions and what users asked for are the file's own.
func Differences(content []byte, want Objects) ([]Difference, error) {
	var file map[string]any
	if err := json.Unmarshal(content, &file); err != nil {
		return nil, err
	}
	var diffs []Difference
	differ := func(kind, id, field, format string, args ...any) {
		diffs = append(diffs, Difference{kind, id, field, fmt.Sprintf(format, args...)})
	}
	for kind, objects := range want {
		have, ok := file[kind].(object)
		if !ok {
			differ(kind, "", "", "missing")
			continue
		}
		for id, w := range objects {
			h, ok := have[id].(object)
			if !ok {
				differ(kind, id, "", "missing")
				continue
			}
			for _, field := range []string{"revision", "addedRevision", "usage", "action", "lastAction", "deletion"} {
				delete(h, field)
			}
			if check, ok := h["healthCheck"].(object); ok {
				check["failingStreak"] = min(1, num(check, "failingStreak"))
			}
			for field, value := range w {
				if !reflect.DeepEqual(h[field], value) {
					differ(kind, id, field, "%s is %v, want %v", field, h[field], value)
				}
			}
			for field, value := range h {
				if _, ok := w[field]; !ok {
					differ(kind, id, field, "%s is %v, want none", field, value)
				}
			}
		}
		for id := range have {
			if objects[id] == nil {
				differ(kind, id, "", "there, want none")
			}
		}
	}
	slices.SortFunc(diffs, func(a, b Difference) int { return strings.Compare(a.String(), b.String()) })
	return diffs, nil
}

// An Expecter says what the mirror of an engine should hold.
type Expecter interface {
	Expect(ctx context.Context) (Objects, error)
	Close()
}

// Compare asks the engine and compares the state file at path with its answer.
func Compare(ctx context.Context, o Expecter, path string) ([]Difference, error) {
	want, err := o.Expect(ctx)
	if err != nil {
		return nil, err
	}
	content, err := files.Read(path)
	if err != nil {
		return nil, err
	}
	return Differences(content, want)
}

// Lines returns the first differences as text, one a line.
func Lines(diffs []Difference) string {
	var lines strings.Builder
	for _, d := range diffs[:min(len(diffs), 50)] {
		fmt.Fprintln(&lines, d)
	}
	return lines.String()
}

func at(v any, path ...string) any {
	for _, p := range path {
		m, _ := v.(object)
		v = m[p]
	}
	return v
}

func str(v any, path ...string) string {
	s, _ := at(v, path...).(string)
	return s
}

func num(v any, path ...string) float64 {
	f, _ := at(v, path...).(float64)
	return f
}

func list0(v any) []any {
	if l, ok := v.([]any); ok {
		return l
	}
	return []any{}
}

func map0(v any) object {
	if m, ok := v.(object); ok {
		return m
	}
	return object{}
}

func keys(list []object, field string) []string {
	var out []string
	for _, o := range list {
		out = append(out, str(o, field))
	}
	return out
}

func sortBy(list []any, by func(object) string) {
	slices.SortFunc(list, func(a, b any) int { return strings.Compare(by(a.(object)), by(b.(object))) })
}

// setTime sets a field to the time as the state file has it, unless it is zero.
func setTime(o object, field, value string) {
	t, err := time.Parse(time.RFC3339Nano, value)
	if err != nil || t.Year() <= 1 {
		return
	}
	o[field] = t.UTC().Format(time.RFC3339Nano)
}

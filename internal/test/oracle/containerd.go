package oracle

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	containersapi "github.com/containerd/containerd/api/services/containers/v1"
	contentapi "github.com/containerd/containerd/api/services/content/v1"
	imagesapi "github.com/containerd/containerd/api/services/images/v1"
	namespacesapi "github.com/containerd/containerd/api/services/namespaces/v1"
	snapshotsapi "github.com/containerd/containerd/api/services/snapshots/v1"
	tasksapi "github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/containerd/api/types/task"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// containerdAPI is a containerd, reached by its own packages.
type containerdAPI struct {
	conn       *grpc.ClientConn
	containers containersapi.ContainersClient
	content    contentapi.ContentClient
	images     imagesapi.ImagesClient
	namespaces namespacesapi.NamespacesClient
	snapshots  snapshotsapi.SnapshotsClient
	tasks      tasksapi.TasksClient
}

func dialContainerd(socket string) (containerdAPI, error) {
	conn, err := grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	return containerdAPI{
		conn:       conn,
		containers: containersapi.NewContainersClient(conn),
		content:    contentapi.NewContentClient(conn),
		images:     imagesapi.NewImagesClient(conn),
		namespaces: namespacesapi.NewNamespacesClient(conn),
		snapshots:  snapshotsapi.NewSnapshotsClient(conn),
		tasks:      tasksapi.NewTasksClient(conn),
	}, err
}

func inNamespace(ctx context.Context, name string) context.Context {
	return metadata.NewOutgoingContext(ctx, metadata.Pairs("containerd-namespace", name)) // in place of another
}

func isNotFound(err error) bool { return status.Code(err) == codes.NotFound }

// A Containerd asks a containerd, and looks at nerdctl's files, for what its mirror should hold.
type Containerd struct {
	containerdAPI
	data    string // the directory of nerdctl's files and networks
	bundles string // the directory of the tasks' files
}

// NewContainerd returns an oracle for the containerd at the socket. Data is the directory of
// nerdctl's files and of the networks, state that of containerd's own state.
func NewContainerd(socket, data, state string) (*Containerd, error) {
	api, err := dialContainerd(socket)
	return &Containerd{api, data, filepath.Join(state, "io.containerd.runtime.v2.task")}, err
}

// Close ends the connection.
func (o *Containerd) Close() { _ = o.conn.Close() }

// Expect is that of [Oracle].
func (o *Containerd) Expect(ctx context.Context) (Objects, error) {
	out := Objects{"namespaces": {}, "containers": {}, "images": {}, "volumes": {}, "networks": {}}
	list, err := o.namespaces.List(ctx, &namespacesapi.ListNamespacesRequest{})
	if err != nil {
		return nil, err
	}
	for _, ns := range list.Namespaces {
		out["namespaces"][ns.Name] = object{"name": ns.Name}
		digests, err := o.imagesOf(ctx, ns.Name, out["images"])
		if err == nil {
			err = o.containersOf(ctx, ns.Name, digests, out["containers"])
		}
		if err != nil && !isNotFound(err) {
			return nil, err
		}
	}
	if err := o.volumes(out["volumes"]); err != nil {
		return nil, err
	}
	return out, o.networks(out["networks"])
}

func (o *Containerd) containersOf(ctx context.Context, namespace string, digests map[string]string, out map[string]object) error {
	ctx = inNamespace(ctx, namespace)
	list, err := o.containers.List(ctx, &containersapi.ListContainersRequest{})
	if err != nil {
		return err
	}
	for _, one := range list.Containers {
		c, err := o.container(ctx, namespace, one, digests[one.Image])
		if err != nil {
			return err
		}
		out[c["id"].(string)] = c
	}
	return nil
}

func (o *Containerd) container(ctx context.Context, namespace string, one *containersapi.Container, image string) (object, error) {
	var spec object
	if err := json.Unmarshal(one.Spec.GetValue(), &spec); err != nil {
		return nil, err
	}
	labels := object{}
	for name, value := range one.Labels {
		labels[name] = value
	}
	name := one.Labels["nerdctl/name"]
	if name == "" {
		name = one.ID
	}
	out := object{
		"id": namespace + "/" + one.ID, "name": name, "namespace": namespace, "image": image, "imageRef": one.Image, "labels": labels,
		"path": "", "args": []any{}, "entrypoint": []any{}, "cmd": []any{}, "user": "", "health": "none", "error": "", "oomKilled": false, "autoRemove": false,
		"portBindings": []any{}, "exposedPorts": []any{},
		"mounts": containerdMounts(one.Labels, spec), "networks": containerdNetworks(one.Labels), "ports": o.ports(one.Labels["nerdctl/state-dir"]),
	}
	if args := list0(at(spec, "process", "args")); len(args) > 0 {
		out["path"], out["args"] = args[0], args[1:]
	}
	policy, retries, _ := strings.Cut(one.Labels["containerd.io/restart.policy"], ":")
	if policy == "" {
		policy = "no"
	}
	out["restartPolicy"] = object{"name": policy, "maximumRetryCount": number(retries)}
	out["restartCount"] = number(one.Labels["containerd.io/restart.count"])
	setCompose(out)
	setContainerdLimits(out, at(spec, "linux", "resources"))
	setTime(out, "createdAt", one.CreatedAt.AsTime().Format(time.RFC3339Nano))
	return out, o.setTask(ctx, out, namespace, one.ID)
}

// setTask adds what the container's task says.
func (o *Containerd) setTask(ctx context.Context, out object, namespace, id string) error {
	out["state"], out["pid"], out["exitCode"] = "created", 0.0, 0.0
	answer, err := o.tasks.Get(ctx, &tasksapi.GetRequest{ContainerID: id})
	if isNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	p := answer.Process
	switch p.Status {
	case task.Status_CREATED:
		return nil
	case task.Status_RUNNING:
		out["state"], out["pid"] = "running", float64(p.Pid)
	case task.Status_PAUSED, task.Status_PAUSING:
		out["state"], out["pid"] = "paused", float64(p.Pid)
	case task.Status_STOPPED:
		out["state"], out["exitCode"] = "exited", float64(p.ExitStatus)
		setTime(out, "finishedAt", p.ExitedAt.AsTime().Format(time.RFC3339Nano))
	default:
		out["state"] = "unknown"
		return nil
	}
	if info, err := os.Stat(filepath.Join(o.bundles, namespace, id, "init.pid")); err == nil {
		setTime(out, "startedAt", info.ModTime().UTC().Format(time.RFC3339Nano))
	}
	return nil
}

func number(text string) float64 {
	n, _ := strconv.Atoi(text)
	return float64(n)
}

func containerdMounts(labels map[string]string, spec object) []any {
	var said []any
	if text, ok := labels["nerdctl/mounts"]; ok && json.Unmarshal([]byte(text), &said) == nil || labels["nerdctl/state-dir"] != "" {
		return mounts(said)
	}
	out := []any{}
	for _, m := range list0(spec["mounts"]) {
		options := list0(at(m, "options"))
		if str(m, "type") == "bind" || slices.Contains(options, any("bind")) || slices.Contains(options, any("rbind")) {
			out = append(out, object{
				"type": "bind", "name": "", "source": str(m, "source"), "destination": str(m, "destination"), "readOnly": slices.Contains(options, any("ro")),
			})
		}
	}
	sortBy(out, func(o object) string { return o["destination"].(string) })
	return out
}

func containerdNetworks(labels map[string]string) []any {
	var names []string
	_ = json.Unmarshal([]byte(labels["nerdctl/networks"]), &names)
	slices.Sort(names)
	out := []any{}
	for _, name := range names {
		out = append(out, object{
			"name": name, "id": "", "ipAddress": "", "ipv6Address": "", "gateway": "", "ipv6Gateway": "", "macAddress": "", "aliases": []any{},
		})
	}
	return out
}

// ports returns what nerdctl has published for the container with this directory.
func (o *Containerd) ports(dir string) []any {
	out := []any{}
	if dir == "" || !strings.HasPrefix(filepath.Clean(dir), filepath.Join(o.data, "nerdctl")+"/") {
		return out
	}
	for _, p := range list0(at(readJSON(filepath.Join(dir, "network-config.json")), "portMappings")) {
		out = append(out, object{
			"containerPort": num(p, "ContainerPort"), "protocol": str(p, "Protocol"), "hostIP": str(p, "HostIP"), "hostPort": num(p, "HostPort"),
		})
	}
	sortBy(out, func(o object) string {
		return fmt.Sprintf("%05.0f %s %s %05.0f", o["containerPort"], o["protocol"], o["hostIP"], o["hostPort"])
	})
	return out
}

func readJSON(path string) (v any) {
	data, err := os.ReadFile(path)
	if err == nil {
		_ = json.Unmarshal(data, &v)
	}
	return v
}

// setContainerdLimits sets the limits: less than nothing is none.
func setContainerdLimits(out object, resources any) {
	limits := object{
		"memory": max(0, num(resources, "memory", "limit")), "memoryReservation": max(0, num(resources, "memory", "reservation")),
		"memorySwap": num(resources, "memory", "swap"), "nanoCpus": 0.0, "cpuShares": num(resources, "cpu", "shares"),
		"cpuPeriod": num(resources, "cpu", "period"), "cpuQuota": max(0, num(resources, "cpu", "quota")),
		"cpusetCpus": str(resources, "cpu", "cpus"), "pidsLimit": max(0, num(resources, "pids", "limit")),
	}
	for _, limit := range limits {
		if limit != 0.0 && limit != "" {
			out["limits"] = limits
		}
	}
}

// imagesOf adds the images of a namespace, and returns the id of each name's.
func (o *Containerd) imagesOf(ctx context.Context, namespace string, out map[string]object) (ids map[string]string, err error) {
	ctx = inNamespace(ctx, namespace)
	list, err := o.images.List(ctx, &imagesapi.ListImagesRequest{})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(list.Images, func(a, b *imagesapi.Image) int { return strings.Compare(a.Name, b.Name) })
	ids = map[string]string{}
	for _, name := range list.Images {
		id := namespace + "/" + name.Target.Digest
		ids[name.Name] = id
		if out[id] == nil {
			if out[id], err = o.image(ctx, name.Target.Digest); err != nil {
				return nil, err
			}
			out[id]["id"], out[id]["namespace"] = id, namespace
		}
		field := "repoTags"
		if strings.Contains(name.Name, "@") {
			field = "repoDigests"
		}
		out[id][field] = append(out[id][field].([]any), name.Name)
	}
	return ids, nil
}

// image returns what the content of an image says, which may not be all there.
func (o *Containerd) image(ctx context.Context, digest string) (object, error) {
	manifest, config, err := o.described(ctx, digest)
	if err != nil && !isNotFound(err) {
		return nil, err
	}
	out := object{
		"parent": "", "repoTags": []any{}, "repoDigests": []any{}, "deletions": object{},
		"architecture": str(config, "architecture"), "os": str(config, "os"), "variant": str(config, "variant"),
		"labels": map0(at(config, "config", "Labels")), "layerCount": float64(len(list0(at(config, "rootfs", "diff_ids")))),
		"exposedPorts": names(at(config, "config", "ExposedPorts")), "volumes": names(at(config, "config", "Volumes")), "size": 0.0,
	}
	setTime(out, "createdAt", str(config, "created"))
	if config != nil {
		size := num(manifest, "config", "size")
		for _, l := range list0(manifest["layers"]) {
			size += num(l, "size")
		}
		out["size"] = size
	}
	return out, nil
}

// described returns the manifest and the configuration of an image.
func (o *Containerd) described(ctx context.Context, digest string) (manifest, config object, err error) {
	if manifest, err = o.blob(ctx, digest); err != nil {
		return nil, nil, err
	}
	if all := list0(manifest["manifests"]); len(all) > 0 {
		i := max(0, slices.IndexFunc(all, func(m any) bool {
			return str(m, "platform", "os") == runtime.GOOS && str(m, "platform", "architecture") == runtime.GOARCH
		}))
		if manifest, err = o.blob(ctx, str(all[i], "digest")); err != nil {
			return nil, nil, err
		}
	}
	config, err = o.blob(ctx, str(manifest, "config", "digest"))
	return manifest, config, err
}

func (o *Containerd) blob(ctx context.Context, digest string) (v object, err error) {
	stream, err := o.content.Read(ctx, &contentapi.ReadContentRequest{Digest: digest})
	if err != nil {
		return nil, err
	}
	var data []byte
	for {
		part, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return v, json.Unmarshal(data, &v)
		}
		if err != nil {
			return nil, err
		}
		data = append(data, part.Data...)
	}
}

func (o *Containerd) volumes(out map[string]object) error {
	return walkFiles(filepath.Join(o.data, "nerdctl"), "volume.json", func(path string, info fs.FileInfo) {
		parts := strings.Split(path, "/") // …/HASH/volumes/NAMESPACE/NAME/volume.json
		namespace, name := parts[len(parts)-3], parts[len(parts)-2]
		v := object{
			"name": namespace + "/" + name, "namespace": namespace, "driver": "local", "scope": "local",
			"mountpoint": filepath.Join(filepath.Dir(path), "_data"), "labels": map0(at(readJSON(path), "Labels")), "options": object{},
		}
		setCompose(v)
		setTime(v, "createdAt", info.ModTime().UTC().Format(time.RFC3339Nano))
		out[namespace+"/"+name] = v
	})
}

func (o *Containerd) networks(out map[string]object) error {
	dir := filepath.Join(o.data, "cni", "net.d")
	return walkFiles(dir, ".conflist", func(path string, _ fs.FileInfo) {
		conf := readJSON(path)
		plugins := list0(at(conf, "plugins"))
		name := str(conf, "name")
		if name == "" || len(plugins) == 0 {
			return // not written yet
		}
		namespace := "default"
		if in := filepath.Dir(path); in != dir {
			namespace = filepath.Base(in)
		}
		id := str(conf, "nerdctlID")
		if id == "" {
			id = name
		}
		subnets, gateways := []any{}, []any{}
		ipv6 := false
		ipam := at(plugins[0], "ipam")
		for _, r := range append([]any{[]any{ipam}}, list0(at(ipam, "ranges"))...) {
			for _, s := range list0(r) {
				if str(s, "subnet") == "" {
					continue
				}
				subnets, gateways = append(subnets, str(s, "subnet")), append(gateways, str(s, "gateway"))
				ipv6 = ipv6 || strings.Contains(str(s, "subnet"), ":")
			}
		}
		n := object{
			"id": namespace + "/" + id, "name": name, "namespace": namespace, "driver": str(plugins[0], "type"), "scope": "local",
			"internal": false, "ipv6": ipv6, "attachable": false, "subnets": subnets, "gateways": gateways, "options": object{}, "labels": map0(at(conf, "nerdctlLabels")),
		}
		setCompose(n)
		out[namespace+"/"+id] = n
	})
}

// walkFiles calls do for each file below a directory whose name ends so.
func walkFiles(dir, end string, do func(path string, info fs.FileInfo)) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.HasSuffix(path, end) {
			var info fs.FileInfo
			if info, err = d.Info(); err == nil {
				do(path, info)
			}
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
}

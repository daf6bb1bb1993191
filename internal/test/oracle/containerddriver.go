package oracle

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	containersapi "github.com/containerd/containerd/api/services/containers/v1"
	contentapi "github.com/containerd/containerd/api/services/content/v1"
	imagesapi "github.com/containerd/containerd/api/services/images/v1"
	namespacesapi "github.com/containerd/containerd/api/services/namespaces/v1"
	snapshotsapi "github.com/containerd/containerd/api/services/snapshots/v1"
	tasksapi "github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/containerd/api/types"
	"github.com/containerd/containerd/api/types/task"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
)

// A ContainerdDriver does random things to a containerd: by ctr, by its API, and to the files that
// nerdctl would write.
type ContainerdDriver struct {
	Steps
	containerdAPI
	o ContainerdDriverOptions
}

// ContainerdDriverOptions say what a driver works on.
type ContainerdDriverOptions struct {
	Socket string // containerd's
	Data   string // the directory of nerdctl's files and networks
	Layer  string // the digest of the one layer of all images
	// Archives are those of the images, see [ImageNames], in their order.
	Archives []string
	// Ctr runs ctr in the engine's namespaces.
	Ctr func(ctx context.Context, args ...string) error
	// Grouped: containers have control groups.
	Grouped bool
}

// ImageNames are the names in the archives that the driver imports.
var ImageNames = []string{"docker.io/library/prog:1", "docker.io/library/other:2"}

// nowhere is the digest of an image whose content is missing.
const nowhere = "sha256:0000000000000000000000000000000000000000000000000000000000000001"

// snapshotter keeps the files of all containers.
const snapshotter = "overlayfs"

// NewContainerdDriver returns a driver, which the caller closes.
func NewContainerdDriver(seed, stream uint64, o ContainerdDriverOptions) (*ContainerdDriver, error) {
	api, err := dialContainerd(o.Socket)
	return &ContainerdDriver{newSteps(seed, stream), api, o}, err
}

// Close ends the connection.
func (d *ContainerdDriver) Close() { _ = d.conn.Close() }

// Step implements [Stepper].
func (d *ContainerdDriver) Step(ctx context.Context) {
	d.step(ctx, d.operations(), func(err error) bool { return status.Code(err) == codes.Unavailable })
}

// Prepare imports the images.
func (d *ContainerdDriver) Prepare(ctx context.Context) error {
	return errors.Join(d.ctr(ctx, "one", "images", "import", d.o.Archives[0]), d.ctr(ctx, "two", "images", "import", d.o.Archives[1]))
}

func (d *ContainerdDriver) operations() []operation {
	const created, running, paused, stopped = task.Status_CREATED, task.Status_RUNNING, task.Status_PAUSED, task.Status_STOPPED
	return []operation{
		{"create", 10, d.create},
		{"start", 14, d.on(d.start, 0, stopped)},
		{"start of a created task", 2, d.on(func(ctx context.Context, id string) error {
			_, err := d.tasks.Start(ctx, &tasksapi.StartRequest{ContainerID: id})
			return err
		}, created)},
		{"kill", 8, d.on(func(ctx context.Context, id string) error {
			signal := d.rng.IntN(4)
			_, err := d.tasks.Kill(ctx, &tasksapi.KillRequest{ContainerID: id, Signal: []uint32{9, 9, 15, 1}[signal]})
			return err
		}, running, paused)},
		{"pause", 4, d.on(func(ctx context.Context, id string) error {
			_, err := d.tasks.Pause(ctx, &tasksapi.PauseTaskRequest{ContainerID: id})
			return err
		}, running)},
		{"resume", 4, d.on(func(ctx context.Context, id string) error {
			_, err := d.tasks.Resume(ctx, &tasksapi.ResumeTaskRequest{ContainerID: id})
			return err
		}, paused)},
		{"exec", 4, d.on(d.exec, running)},
		{"delete task", 5, d.on(func(ctx context.Context, id string) error {
			_, err := d.tasks.Delete(ctx, &tasksapi.DeleteTaskRequest{ContainerID: id})
			return err
		}, stopped, created)},
		{"delete container", 4, d.on(func(ctx context.Context, id string) error {
			if d.rng.IntN(3) > 0 { // else perhaps one whose task runs
				if _, err := d.tasks.Delete(ctx, &tasksapi.DeleteTaskRequest{ContainerID: id}); err != nil && !isNotFound(err) {
					return err
				}
			}
			_, _ = d.snapshots.Remove(ctx, &snapshotsapi.RemoveSnapshotRequest{Snapshotter: snapshotter, Key: id})
			_, err := d.containers.Delete(ctx, &containersapi.DeleteContainerRequest{ID: id})
			return err
		}, 0, stopped)},
		{"update container", 6, d.on(d.update)},
		{"kill shim", 2, d.on(d.killShim, running, paused, stopped)},
		{"tag", 4, d.tag},
		{"untag", 2, func(ctx context.Context) error {
			ctx = inNamespace(ctx, d.namespace())
			_, err := d.images.Delete(ctx, &imagesapi.DeleteImageRequest{Name: d.imageName(), Sync: d.rng.IntN(2) == 0})
			return err
		}},
		{"namespace create", 2, func(ctx context.Context) error {
			name := d.pick("three", "f-o.u_r")
			_, err := d.namespaces.Create(d.inAny(ctx, name), &namespacesapi.CreateNamespaceRequest{Namespace: &namespacesapi.Namespace{Name: name, Labels: d.labels()}})
			return err
		}},
		{"namespace label", 1, func(ctx context.Context) error {
			_, err := d.namespaces.Update(ctx, &namespacesapi.UpdateNamespaceRequest{Namespace: &namespacesapi.Namespace{Name: d.namespace(), Labels: d.labels()}})
			return err
		}},
		{"namespace delete", 3, func(ctx context.Context) error {
			name := d.pick("three", "f-o.u_r")
			_, err := d.namespaces.Delete(d.inAny(ctx, name), &namespacesapi.DeleteNamespaceRequest{Name: name})
			return err
		}},
		{"volume create", 4, d.createVolume},
		{"volume remove", 3, func(context.Context) error { return os.RemoveAll(d.volume()) }},
		{"network create", 4, d.createNetwork},
		{"network remove", 3, func(context.Context) error { return os.Remove(d.network()) }},

		{"ctr run", 4, func(ctx context.Context) error {
			how := d.pick("--detach", "--rm")
			args := [][]string{{"/prog", "sleep"}, {"/prog", "sleep", "50", "3"}, {"/prog", "exit", "0"}}[d.rng.IntN(3)]
			if how == "--rm" {
				args = []string{"/prog", "exit", d.pick("0", "1")}
			}
			return d.ctr(ctx, d.namespace(), slices.Concat([]string{"run", how, "--label", "x=" + d.pick("y", "z")}, d.limits(), []string{d.imageName(), d.id()}, args)...)
		}},
		{"ctr containers create", 2, func(ctx context.Context) error {
			return d.ctr(ctx, d.namespace(), slices.Concat([]string{"containers", "create"}, d.limits(), []string{d.imageName(), d.id(), "/prog", "sleep"})...)
		}},
		{"ctr containers label", 1, func(ctx context.Context) error {
			return d.ctr(ctx, d.namespace(), "containers", "label", d.id(), "n="+d.pick("1", "2"))
		}},
		{"ctr containers rm", 1, func(ctx context.Context) error { return d.ctr(ctx, d.namespace(), "containers", "rm", d.id()) }},
		{"ctr tasks start", 2, func(ctx context.Context) error {
			return d.ctr(ctx, d.namespace(), "tasks", "start", "--detach", d.id())
		}},
		{"ctr tasks kill", 1, func(ctx context.Context) error {
			return d.ctr(ctx, d.namespace(), "tasks", "kill", "--signal", d.pick("SIGKILL", "SIGTERM"), d.id())
		}},
		{"ctr tasks rm", 2, func(ctx context.Context) error { return d.ctr(ctx, d.namespace(), "tasks", "rm", "--force", d.id()) }},
		{"ctr tasks pause", 1, func(ctx context.Context) error { return d.ctr(ctx, d.namespace(), "tasks", "pause", d.id()) }},
		{"ctr tasks resume", 1, func(ctx context.Context) error { return d.ctr(ctx, d.namespace(), "tasks", "resume", d.id()) }},
		{"ctr tasks exec", 2, func(ctx context.Context) error {
			return d.ctr(ctx, d.namespace(), "tasks", "exec", "--exec-id", d.execID(), d.id(), "/prog", "exit", d.pick("0", "1"))
		}},
		{"ctr images import", 5, func(ctx context.Context) error {
			ns := d.namespace()
			err := d.ctr(ctx, ns, "images", "import", d.o.Archives[d.rng.IntN(len(d.o.Archives))])
			if err != nil { // what it has brought before makes a namespace, without a word
				d.excuse("namespaces", ns, "")
			}
			return err
		}},
		{"ctr images tag", 1, func(ctx context.Context) error {
			return d.ctr(ctx, d.namespace(), "images", "tag", "--force", d.imageName(), d.imageName())
		}},
		{"ctr images rm", 1, func(ctx context.Context) error { return d.ctr(ctx, d.namespace(), "images", "rm", d.imageName()) }},
		{"ctr namespaces rm", 1, func(ctx context.Context) error { return d.ctr(ctx, "one", "namespaces", "rm", "three") }},
	}
}

func (d *ContainerdDriver) ctr(ctx context.Context, namespace string, args ...string) error {
	d.Log("  ctr %s %q", namespace, args)
	return d.o.Ctr(ctx, append([]string{"--namespace", namespace}, args...)...)
}

// limits are arguments by which a container can be without control groups.
func (d *ContainerdDriver) limits() []string {
	if d.o.Grouped {
		return nil
	}
	return []string{"--cgroup", "", "--cpu-shares", "0"}
}

// Few names, so that they meet.
func (d *ContainerdDriver) namespace() string { return d.pick("one", "one", "two", "two", "three") }

// inAny returns a context for what is done to a namespace. In none, containerd does it and tells
// nobody.
func (d *ContainerdDriver) inAny(ctx context.Context, name string) context.Context {
	if d.rng.IntN(4) == 0 {
		d.excuse("namespaces", name, "")
		return ctx
	}
	return inNamespace(ctx, name)
}

func (d *ContainerdDriver) id() string {
	return d.pick("c0", "c-1", "C.2", "c_3", strings.Repeat("long", 19))
}

func (d *ContainerdDriver) execID() string { return fmt.Sprintf("e%d-%d", d.stream, d.steps) }

func (d *ContainerdDriver) imageName() string {
	return d.pick(ImageNames[0], ImageNames[0], ImageNames[1], "example.org/again:0", "example.org/again:1", "import@"+nowhere)
}

// on picks a random container, mostly one whose task is in one of the states: 0 for none.
func (d *ContainerdDriver) on(do func(context.Context, string) error, states ...task.Status) func(context.Context) error {
	return func(ctx context.Context) error {
		ns, n, any := d.namespace(), d.rng.Int(), d.rng.IntN(4) == 0
		ctx = inNamespace(ctx, ns)
		list, err := d.containers.List(ctx, &containersapi.ListContainersRequest{})
		if err != nil {
			return err
		}
		tasks, err := d.tasks.List(ctx, &tasksapi.ListTasksRequest{})
		if err != nil {
			return err
		}
		var all, fit []string
		for _, c := range list.Containers {
			var is task.Status
			for _, t := range tasks.Tasks {
				if t.ID == c.ID {
					is = t.Status
				}
			}
			all = append(all, c.ID)
			if slices.Contains(states, is) {
				fit = append(fit, c.ID)
			}
		}
		id, ok := oneOf(all, fit, n, any)
		if !ok {
			return d.create(ctx)
		}
		d.Log("  %s/%s", ns, id)
		return do(ctx, id)
	}
}

type list = []any

// create makes a container, as nerdctl does or with nothing but what it takes.
func (d *ContainerdDriver) create(ctx context.Context) error {
	ns, id := d.namespace(), d.id()
	d.Log("  %s/%s", ns, id)
	ctx = inNamespace(ctx, ns)
	spec, err := json.Marshal(d.spec())
	if err != nil {
		return err
	}
	labels := d.labels()
	if d.rng.IntN(2) == 0 {
		if labels, err = d.nerdctlLabels(ns, id, labels); err != nil {
			return err
		}
	}
	c := &containersapi.Container{
		ID: id, Image: d.imageName(), Labels: labels, Runtime: &containersapi.Container_Runtime{Name: "io.containerd.runc.v2"},
		Spec: &anypb.Any{TypeUrl: "types.containerd.io/opencontainers/runtime-spec/1/Spec", Value: spec},
	}
	if _, err := d.snapshots.Prepare(ctx, &snapshotsapi.PrepareSnapshotRequest{Snapshotter: snapshotter, Key: id, Parent: d.o.Layer}); err == nil {
		c.Snapshotter, c.SnapshotKey = snapshotter, id
	}
	_, err = d.containers.Create(ctx, &containersapi.CreateContainerRequest{Container: c})
	return err
}

// spec is a container's specification.
func (d *ContainerdDriver) spec() object {
	args := []list{
		{"/prog", "sleep"}, {"/prog", "sleep"}, {"/prog", "sleep"}, {"/prog", "sleep", "300", "0"}, {"/prog", "sleep", "100", "3"},
		{"/prog", "exit", "7"}, {"/missing"},
	}[d.rng.IntN(7)]
	linux := object{"namespaces": list{object{"type": "pid"}, object{"type": "mount"}, object{"type": "ipc"}, object{"type": "uts"}}}
	mounts := list{object{"destination": "/proc", "type": "proc", "source": "proc"}}
	if d.o.Grouped {
		linux["cgroupsPath"] = fmt.Sprintf("/oracle/%d-%d", d.stream, d.steps)
		linux["resources"] = []object{
			{}, {"memory": object{"limit": 64 << 20}}, {"memory": object{"limit": -1}, "pids": object{"limit": -1}},
			{"cpu": object{"shares": 100, "quota": 50000, "period": 100000}, "pids": object{"limit": 50}},
		}[d.rng.IntN(4)]
	}
	if d.rng.IntN(3) == 0 {
		mounts = append(mounts, object{"destination": "/host", "type": "bind", "source": "/etc", "options": list{d.pick("bind", "rbind"), d.pick("ro", "rw")}})
	}
	return object{
		"ociVersion": "1.0.2", "hostname": "h", "root": object{"path": "rootfs"}, "mounts": mounts, "linux": linux,
		"process": object{"args": args, "env": list{"PATH=/", "SECRET=oracle-secret"}, "cwd": "/", "user": object{"uid": 0, "gid": 0}},
	}
}

// nerdctlLabels adds what nerdctl says of a container, and writes its file.
func (d *ContainerdDriver) nerdctlLabels(namespace, id string, labels map[string]string) (map[string]string, error) {
	// Nerdctl chooses its ids: another's directory is never written to by a creation that fails.
	dir := filepath.Join(d.o.Data, "nerdctl", "1935db59", "containers", namespace, fmt.Sprintf("%s-%d-%d", id, d.stream, d.steps))
	out := map[string]string{
		"nerdctl/name": d.pick("web", "db", "a-long_name.1"), "nerdctl/state-dir": d.pick(dir, dir, dir, "/etc"),
		"nerdctl/networks": d.pick(`["bridge"]`, `["n2","n1"]`, `[]`, `no JSON`),
	}
	if d.rng.IntN(2) == 0 {
		out["nerdctl/mounts"] = d.pick(`[]`, `[{"Type":"volume","Name":"v0","Source":"/x","Destination":"/data","RW":true},{"Type":"bind","Source":"/etc","Destination":"/a","RW":false}]`)
	}
	if d.rng.IntN(4) == 0 { // containerd starts it again within ten seconds
		out["containerd.io/restart.policy"] = d.pick("always", "on-failure:2", "unless-stopped")
		out["containerd.io/restart.status"] = "running"
	}
	for name, value := range labels {
		out[name] = value
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	ports := d.pick(`{}`, `{"portMappings":[{"HostPort":8080,"ContainerPort":80,"Protocol":"tcp","HostIP":"127.0.0.1"},{"HostPort":53,"ContainerPort":53,"Protocol":"udp","HostIP":"0.0.0.0"}]}`, "torn {")
	return out, os.WriteFile(filepath.Join(dir, "network-config.json"), []byte(ports), 0o600)
}

// start makes a task, in the place of one that has ended, and mostly starts it.
func (d *ContainerdDriver) start(ctx context.Context, id string) error {
	onlyCreate := d.rng.IntN(6) == 0
	_, _ = d.tasks.Delete(ctx, &tasksapi.DeleteTaskRequest{ContainerID: id})
	request := &tasksapi.CreateTaskRequest{ContainerID: id}
	if m, err := d.snapshots.Mounts(ctx, &snapshotsapi.MountsRequest{Snapshotter: snapshotter, Key: id}); err == nil {
		request.Rootfs = m.Mounts
	}
	if _, err := d.tasks.Create(ctx, request); err != nil || onlyCreate {
		return err
	}
	_, err := d.tasks.Start(ctx, &tasksapi.StartRequest{ContainerID: id})
	return err
}

// exec runs a process in a container, and mostly forgets it.
func (d *ContainerdDriver) exec(ctx context.Context, id string) error {
	forget := d.rng.IntN(3) > 0
	process, err := json.Marshal(object{"args": list{"/prog", "exit", d.pick("0", "4")}, "cwd": "/", "user": object{"uid": 0, "gid": 0}})
	if err != nil {
		return err
	}
	exec := d.execID()
	if _, err := d.tasks.Exec(ctx, &tasksapi.ExecProcessRequest{
		ContainerID: id, ExecID: exec, Spec: &anypb.Any{TypeUrl: "types.containerd.io/opencontainers/runtime-spec/1/Process", Value: process},
	}); err != nil {
		return err
	}
	if _, err := d.tasks.Start(ctx, &tasksapi.StartRequest{ContainerID: id, ExecID: exec}); err != nil || !forget {
		return err
	}
	if _, err := d.tasks.Wait(ctx, &tasksapi.WaitRequest{ContainerID: id, ExecID: exec}); err != nil {
		return err
	}
	_, err = d.tasks.DeleteProcess(ctx, &tasksapi.DeleteProcessRequest{ContainerID: id, ExecID: exec})
	return err
}

// update changes what can be changed of a container.
func (d *ContainerdDriver) update(ctx context.Context, id string) error {
	c := &containersapi.Container{ID: id, Labels: map[string]string{"oracle": d.pick("", "1", "2"), "nerdctl/name": d.pick("", "renamed")}, Image: d.imageName()}
	paths := [][]string{{"labels.oracle"}, {"labels.nerdctl/name"}, {"labels"}, {"image"}}[d.rng.IntN(4)]
	_, err := d.containers.Update(ctx, &containersapi.UpdateContainerRequest{Container: c, UpdateMask: &fieldmaskpb.FieldMask{Paths: paths}})
	return err
}

// killShim kills the parent of a container's processes.
func (d *ContainerdDriver) killShim(_ context.Context, id string) error {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return err
	}
	for _, e := range entries {
		data, _ := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
		args := strings.Split(string(data), "\x00")
		if strings.HasSuffix(args[0], "containerd-shim-runc-v2") && slices.Contains(args, d.o.Socket) && slices.Contains(args, id) {
			pid, err := strconv.Atoi(e.Name())
			if err != nil {
				return err
			}
			p, err := os.FindProcess(pid)
			if err != nil {
				return err
			}
			return p.Kill()
		}
	}
	return errors.New("there is no shim")
}

// tag makes a name for content, or leads it to another.
func (d *ContainerdDriver) tag(ctx context.Context) error {
	name, n := d.imageName(), d.rng.Int()
	update := d.rng.IntN(2) == 0
	ctx = inNamespace(ctx, d.namespace())
	target := &types.Descriptor{MediaType: manifestType, Digest: nowhere, Size: 1}
	all, err := d.images.List(ctx, &imagesapi.ListImagesRequest{})
	if err != nil {
		return err
	}
	if len(all.Images) > 0 && n%8 > 0 {
		target = all.Images[n%len(all.Images)].Target
	}
	i := &imagesapi.Image{Name: name, Target: target, Labels: d.labels()}
	if update {
		_, err = d.images.Update(ctx, &imagesapi.UpdateImageRequest{Image: i})
	} else {
		_, err = d.images.Create(ctx, &imagesapi.CreateImageRequest{Image: i})
	}
	if err != nil || target.Digest == nowhere {
		return err
	}
	// Its content may have been removed meanwhile, which is no image any more.
	if _, err = d.content.Info(ctx, &contentapi.InfoRequest{Digest: target.Digest}); isNotFound(err) {
		_, err = d.images.Delete(ctx, &imagesapi.DeleteImageRequest{Name: name})
	}
	return err
}

// Name names content that need not be there.
func (d *ContainerdDriver) Name(ctx context.Context, namespace, name, digest string) error {
	i := &imagesapi.Image{Name: name, Target: &types.Descriptor{MediaType: manifestType, Digest: digest, Size: 1}}
	_, err := d.images.Create(inNamespace(ctx, namespace), &imagesapi.CreateImageRequest{Image: i})
	return err
}

const manifestType = "application/vnd.oci.image.manifest.v1+json"

// volume is the directory of a volume.
func (d *ContainerdDriver) volume() string {
	return filepath.Join(d.o.Data, "nerdctl", "1935db59", "volumes", d.namespace(), d.pick("v0", "v-1", "V.2", "[v]*?"))
}

// createVolume makes a volume, or changes its labels.
func (d *ContainerdDriver) createVolume(context.Context) error {
	dir := d.volume()
	if err := os.MkdirAll(filepath.Join(dir, "_data"), 0o700); err != nil {
		return err
	}
	data, err := json.Marshal(object{"Labels": d.labels()})
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "volume.json"), data, 0o600)
}

// network is the file of a network.
func (d *ContainerdDriver) network() string {
	return filepath.Join(d.o.Data, "cni", "net.d", d.pick("", "one", "two"), d.pick("nerdctl-n0", "nerdctl-n-1", "podman")+".conflist")
}

func (d *ContainerdDriver) createNetwork(context.Context) error {
	path := d.network()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	// Its name is in it: the same in two files would be two networks of one id.
	conf := object{"cniVersion": "1.0.0", "name": strings.TrimSuffix(filepath.Base(path), ".conflist"), "nerdctlLabels": d.labels(), "plugins": list{
		object{"type": d.pick("bridge", "macvlan"), "ipam": []object{
			{"subnet": "10.4.0.0/24", "gateway": "10.4.0.1"}, {},
			{"ranges": list{list{object{"subnet": "10.5.0.0/24", "gateway": "10.5.0.1"}}, list{object{"subnet": "fd00::/64"}}}},
		}[d.rng.IntN(3)]}, object{"type": "firewall"},
	}}
	if d.rng.IntN(2) == 0 {
		conf["nerdctlID"] = strings.Repeat("5a", 32) + conf["name"].(string)
	}
	data, err := json.Marshal(conf)
	if err != nil {
		return err
	}
	// In two parts, as it may be seen.
	half := len(data) / 2
	return errors.Join(os.WriteFile(path, data[:half], 0o600), os.WriteFile(path, data, 0o600))
}

package oracle

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/moby/moby/api/types/build"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"

	"github.com/docker-rd/docker-rd/internal/test/realengine"
)

// A Driver does random things to an engine that speaks Docker's API.
type Driver struct {
	Steps
	cli    *client.Client
	rootfs []byte
	saved  []byte // what the last save brought

	// Podman: the engine is podman, which has no events of networks.
	Podman bool
}

// BaseImage is the image that the driver's containers are made of.
const BaseImage = "oracle/base:latest"

// NewDriver returns a driver. Rootfs is that of [realengine.RootFS].
func NewDriver(cli *client.Client, seed, stream uint64, rootfs []byte) *Driver {
	return &Driver{Steps: newSteps(seed, stream), cli: cli, rootfs: rootfs}
}

// Version returns what the engine calls itself.
func (d *Driver) Version(ctx context.Context) (string, error) {
	v, err := d.cli.ServerVersion(ctx, client.ServerVersionOptions{})
	if err != nil || len(v.Components) == 0 {
		return v.Version, err
	}
	return v.Components[0].Name + " " + v.Version, nil
}

// Prepare imports the base image.
func (d *Driver) Prepare(ctx context.Context) error {
	return d.importImage(ctx, BaseImage)
}

func (d *Driver) operations() []operation {
	const (
		running, paused, restarting = container.StateRunning, container.StatePaused, container.StateRestarting
		created, exited             = container.StateCreated, container.StateExited
	)
	return []operation{
		{"create", 8, d.create},
		{"run", 8, func(ctx context.Context) error {
			id, err := d.createContainer(ctx)
			if err != nil {
				return err
			}
			return d.starting(func(ctx context.Context, id string) error {
				_, err := d.cli.ContainerStart(ctx, id, client.ContainerStartOptions{})
				return err
			})(ctx, id)
		}},
		{"start", 12, d.on(d.starting(func(ctx context.Context, id string) error {
			_, err := d.cli.ContainerStart(ctx, id, client.ContainerStartOptions{})
			return err
		}), created, exited)},
		{"stop", 5, d.on(func(ctx context.Context, id string) error {
			zero := 0
			_, err := d.cli.ContainerStop(ctx, id, client.ContainerStopOptions{Timeout: &zero})
			return err
		}, running, paused, restarting)},
		{"restart", 3, d.on(d.starting(func(ctx context.Context, id string) error {
			zero := 0
			_, err := d.cli.ContainerRestart(ctx, id, client.ContainerRestartOptions{Timeout: &zero})
			return err
		}), running, exited)},
		{"kill", 4, d.on(func(ctx context.Context, id string) error {
			signal := d.pick("KILL", "KILL", "TERM", "HUP", "WINCH")
			_, err := d.cli.ContainerKill(ctx, id, client.ContainerKillOptions{Signal: signal})
			return err
		}, running, restarting)},
		{"pause", 6, d.on(func(ctx context.Context, id string) error {
			_, err := d.cli.ContainerPause(ctx, id, client.ContainerPauseOptions{})
			return err
		}, running)},
		{"unpause", 4, d.on(func(ctx context.Context, id string) error {
			_, err := d.cli.ContainerUnpause(ctx, id, client.ContainerUnpauseOptions{})
			return err
		}, paused)},
		{"rename", 4, d.on(func(ctx context.Context, id string) error {
			_, err := d.cli.ContainerRename(ctx, id, client.ContainerRenameOptions{NewName: d.containerName()})
			return err
		})},
		{"update", 3, d.on(func(ctx context.Context, id string) error {
			policy := d.restartPolicy()
			opts := client.ContainerUpdateOptions{RestartPolicy: &policy}
			if d.rng.IntN(2) == 0 {
				opts.Resources = &container.Resources{CPUShares: 2 + d.rng.Int64N(1000)}
			}
			_, err := d.cli.ContainerUpdate(ctx, id, opts)
			return err
		})},
		{"exec", 4, d.on(d.exec, running)},
		{"rm", 4, d.on(func(ctx context.Context, id string) error {
			_, err := d.cli.ContainerRemove(ctx, id, client.ContainerRemoveOptions{RemoveVolumes: d.rng.IntN(2) == 0})
			return err
		}, created, exited)},
		{"rm -f", 5, d.on(func(ctx context.Context, id string) error {
			_, err := d.cli.ContainerRemove(ctx, id, client.ContainerRemoveOptions{Force: true, RemoveVolumes: d.rng.IntN(2) == 0})
			return err
		})},
		{"container prune", 1, func(ctx context.Context) error {
			_, err := d.cli.ContainerPrune(ctx, client.ContainerPruneOptions{})
			return err
		}},
		{"import", 2, func(ctx context.Context) error { return d.importImage(ctx, d.tag()) }},
		{"import untagged", 1, func(ctx context.Context) error { return d.importImage(ctx, "") }},
		{"tag", 5, func(ctx context.Context) error {
			tag := d.tag()
			id, err := d.anyImage(ctx)
			if err != nil {
				return err
			}
			_, err = d.cli.ImageTag(ctx, client.ImageTagOptions{Source: id, Target: tag})
			return err
		}},
		{"untag", 3, func(ctx context.Context) error {
			_, err := d.cli.ImageRemove(ctx, d.tag(), client.ImageRemoveOptions{})
			return err
		}},
		{"rmi", 2, func(ctx context.Context) error {
			force := d.rng.IntN(2) == 0
			id, err := d.anyImage(ctx)
			if err != nil {
				return err
			}
			if id == BaseImage {
				return nil // there would be no containers without it
			}
			_, err = d.cli.ImageRemove(ctx, id, client.ImageRemoveOptions{Force: force, PruneChildren: true})
			return err
		}},
		{"commit", 2, d.on(func(ctx context.Context, id string) error {
			_, err := d.cli.ContainerCommit(ctx, id, client.ContainerCommitOptions{Reference: d.tag(), NoPause: d.rng.IntN(3) > 0})
			return err
		})},
		{"commit untagged", 1, d.on(func(ctx context.Context, id string) error {
			_, err := d.cli.ContainerCommit(ctx, id, client.ContainerCommitOptions{NoPause: true})
			return err
		})},
		{"build", 2, func(ctx context.Context) error { return d.build(ctx, d.tag()) }},
		{"build untagged", 1, func(ctx context.Context) error { return d.build(ctx, "") }},
		{"buildkit", 1, func(ctx context.Context) error { return d.buildkit(ctx, d.tag()) }},
		{"buildkit untagged", 1, func(ctx context.Context) error { return d.buildkit(ctx, "") }},
		{"save", 1, d.save},
		{"push", 4, d.push},
		{"pull", 3, d.pull},
		{"load", 2, d.load},
		{"image prune", 1, func(ctx context.Context) error {
			_, err := d.cli.ImagePrune(ctx, client.ImagePruneOptions{})
			return err
		}},
		{"image prune all", 1, func(ctx context.Context) error {
			_, err := d.cli.ImagePrune(ctx, client.ImagePruneOptions{Filters: client.Filters{}.Add("dangling", "false")})
			return errors.Join(err, d.Prepare(ctx))
		}},
		{"volume create", 5, func(ctx context.Context) error {
			opts := client.VolumeCreateOptions{Name: d.volumeName(), Labels: d.labels()}
			if d.rng.IntN(4) == 0 {
				opts.DriverOpts = map[string]string{"type": "tmpfs", "device": "tmpfs", "o": "size=1m,mode=0700"}
			}
			_, err := d.cli.VolumeCreate(ctx, opts)
			return err
		}},
		{"volume rm", 4, func(ctx context.Context) error {
			_, err := d.cli.VolumeRemove(ctx, d.volumeName(), client.VolumeRemoveOptions{Force: d.rng.IntN(3) == 0})
			return err
		}},
		{"volume prune", 1, func(ctx context.Context) error {
			_, err := d.cli.VolumePrune(ctx, client.VolumePruneOptions{})
			return err
		}},
		{"network create", 6, d.createNetwork},
		{"network rm", 2, d.network(func(ctx context.Context) error {
			_, err := d.cli.NetworkRemove(ctx, d.anyNetwork(ctx), client.NetworkRemoveOptions{})
			return err
		})},
		{"network prune", 1, d.network(func(ctx context.Context) error {
			_, err := d.cli.NetworkPrune(ctx, client.NetworkPruneOptions{})
			return err
		})},
		{"connect", 4, d.on(d.attaching(func(ctx context.Context, id string) error {
			_, err := d.cli.NetworkConnect(ctx, d.anyNetwork(ctx), client.NetworkConnectOptions{Container: id})
			return err
		}), running)},
		{"disconnect", 3, d.on(d.attaching(func(ctx context.Context, id string) error {
			name, force := d.networkOf(ctx, id), d.rng.IntN(2) == 0
			if _, err := d.cli.NetworkInspect(ctx, name, client.NetworkInspectOptions{}); err != nil && force {
				d.excuse("containers", id, "networks") // moby does not know of which network to tell
			}
			_, err := d.cli.NetworkDisconnect(ctx, name, client.NetworkDisconnectOptions{Container: id, Force: force})
			return err
		}), running)},
	}
}

// starting has a start excused that fails: a container that was connected already may keep
// its address. Why it has failed the engine leaves in the container, whose restarts it counts anew. An
// event tells of that only where a network or a volume is let go.
func (d *Driver) starting(start func(context.Context, string) error) func(context.Context, string) error {
	return func(ctx context.Context, id string) error {
		err := start(ctx, id)
		if err != nil {
			d.excuse("containers", id, "networks")
			if !d.hasVolume(ctx, id) {
				d.excuse("containers", id, "error", "exitCode", "restartCount")
			}
		}
		return err
	}
}

func (d *Driver) hasVolume(ctx context.Context, id string) bool {
	found, err := d.cli.ContainerInspect(ctx, id, client.ContainerInspectOptions{})
	return err == nil && slices.ContainsFunc(found.Container.Mounts, func(m container.MountPoint) bool { return m.Type == mount.TypeVolume })
}

// attaching excuses what there is no event of: networks of a container that is not running,
// and podman's.
func (d *Driver) attaching(do func(context.Context, string) error) func(context.Context, string) error {
	return func(ctx context.Context, id string) error {
		before := d.running(ctx, id)
		err := do(ctx, id)
		if d.Podman || !before || !d.running(ctx, id) {
			d.excuse("containers", id, "networks")
		}
		return err
	}
}

// network excuses podman, which has no events of networks.
func (d *Driver) network(do func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		if d.Podman {
			d.excuse("networks", "", "")
		}
		return do(ctx)
	}
}

// Step implements [Stepper].
func (d *Driver) Step(ctx context.Context) { d.step(ctx, d.operations(), client.IsErrConnectionFailed) }

// on picks a random container, mostly one in one of the states.
func (d *Driver) on(do func(context.Context, string) error, states ...container.ContainerState) func(context.Context) error {
	return func(ctx context.Context) error {
		n, any := d.rng.Int(), d.rng.IntN(4) == 0
		l, err := d.cli.ContainerList(ctx, client.ContainerListOptions{All: true})
		if err != nil {
			return err
		}
		var all, fit []string
		for _, c := range l.Items {
			all = append(all, c.ID)
			if slices.Contains(states, c.State) {
				fit = append(fit, c.ID)
			}
		}
		id, ok := oneOf(all, fit, n, any)
		if !ok {
			return d.create(ctx)
		}
		d.Log("  %s", id)
		return do(ctx, id)
	}
}

func (d *Driver) running(ctx context.Context, id string) bool {
	c, err := d.cli.ContainerInspect(ctx, id, client.ContainerInspectOptions{})
	return err == nil && c.Container.State != nil && c.Container.State.Running
}

// Few names, so that they meet.
func (d *Driver) containerName() string {
	return d.pick("a", "b-1", "C.d", "e_f", "0", strings.Repeat("long", 50), "name", "/zz", "x9") + d.pick("", "1", "2", "3", "-4", "_5", ".6")
}

func (d *Driver) volumeName() string {
	return d.pick("v0", "v-1", "V.2", "v.2", "v_3", "vol4", strings.Repeat("v", 200))
}

func (d *Driver) tag() string {
	return d.pick("oracle/one", "oracle/two", "oracle/three/four", "f-i.v_e", "127.0.0.1:5000/x", strings.Repeat("ab", 16)) + ":" +
		d.pick("latest", "1", "v1.0_x", strings.Repeat("T", 128))
}

func (d *Driver) networkName() string {
	return d.pick("n0", "a name with spaces", "slash/ed", "ünïcode ☃", `quo"ted\`, "dot.ted", "100%2F?#&", strings.Repeat("n", 100), strings.Repeat("0a", 32))
}

func (d *Driver) restartPolicy() container.RestartPolicy {
	switch d.rng.IntN(6) {
	case 0:
		return container.RestartPolicy{Name: container.RestartPolicyOnFailure, MaximumRetryCount: 3}
	case 1:
		return container.RestartPolicy{Name: container.RestartPolicyUnlessStopped}
	case 2:
		return container.RestartPolicy{Name: container.RestartPolicyAlways}
	}
	return container.RestartPolicy{Name: container.RestartPolicyDisabled}
}

func (d *Driver) create(ctx context.Context) error {
	_, err := d.createContainer(ctx)
	return err
}

func (d *Driver) createContainer(ctx context.Context) (id string, err error) {
	cmd := [][]string{
		{"/prog", "sleep"}, {"/prog", "sleep"}, {"/prog", "sleep"}, {"/prog", "sleep"}, {"/prog", "sleep"}, {"/prog", "sleep", "300", "0"}, {"/prog", "sleep", "100", "3"},
		{"/prog", "exit", "7"}, {"/prog", "eat"}, {"/missing"},
	}[d.rng.IntN(10)]
	config := &container.Config{Image: BaseImage, Cmd: cmd, Labels: d.labels(), Env: []string{"SECRET=oracle-secret"}, User: d.pick("", "0", "0:0")}
	if d.rng.IntN(3) == 0 {
		config.Entrypoint, config.Cmd = cmd[:1], cmd[1:]
	}
	host := &container.HostConfig{RestartPolicy: d.restartPolicy()}
	host.Memory = 32 << 20
	if len(cmd) != 2 || cmd[1] != "sleep" {
		// One that ends by itself would restart for ever; docker waits ever longer.
		host.RestartPolicy = container.RestartPolicy{Name: container.RestartPolicyOnFailure, MaximumRetryCount: d.rng.IntN(3)}
		if d.Podman { // it never waits
			host.RestartPolicy.MaximumRetryCount++
		}
	}
	if d.rng.IntN(4) == 0 {
		config.Healthcheck = &container.HealthConfig{Test: []string{"CMD", "/prog", "check"}, Interval: 200 * time.Millisecond, Timeout: 5 * time.Second, Retries: 1}
	}
	if d.rng.IntN(3) == 0 {
		host.Mounts = append(host.Mounts, mount.Mount{Type: mount.TypeVolume, Source: d.volumeName(), Target: "/data", ReadOnly: d.rng.IntN(2) == 0})
	}
	if d.rng.IntN(8) == 0 {
		host.Mounts = append(host.Mounts, mount.Mount{Type: mount.TypeBind, Source: "/etc", Target: "/host", ReadOnly: true}, mount.Mount{Type: mount.TypeTmpfs, Target: "/tmpfs"})
	}
	if d.rng.IntN(6) == 0 {
		config.Volumes = map[string]struct{}{"/anonymous": {}}
	}
	if d.rng.IntN(3) == 0 {
		port := network.MustParsePort("80/tcp")
		config.ExposedPorts = network.PortSet{port: {}, network.MustParsePort("53/udp"): {}}
		if d.rng.IntN(2) == 0 {
			host.PortBindings = network.PortMap{port: {{HostIP: netip.MustParseAddr("127.0.0.1"), HostPort: ""}}}
		}
	}
	if d.rng.IntN(5) == 0 {
		host.NetworkMode = container.NetworkMode(d.pick("none", "host", "n0", "dot.ted"))
	}
	if d.rng.IntN(12) == 0 && host.NetworkMode == "" && !d.Podman {
		l, err := d.cli.ContainerList(ctx, client.ContainerListOptions{})
		if err == nil && len(l.Items) > 0 {
			host.Links = []string{l.Items[0].ID + ":db"}
		}
	}
	if d.rng.IntN(12) == 0 && host.NetworkMode == "" && host.Links == nil && !d.Podman {
		// Once the other has ended, this one fails to start before it has a network.
		l, err := d.cli.ContainerList(ctx, client.ContainerListOptions{})
		if err == nil && len(l.Items) > 0 {
			host.NetworkMode = container.NetworkMode("container:" + l.Items[0].ID)
			config.ExposedPorts, host.PortBindings = nil, nil
		}
	}
	host.AutoRemove = d.rng.IntN(10) == 0 && host.RestartPolicy.Name == container.RestartPolicyDisabled
	name := d.containerName()
	if d.rng.IntN(6) == 0 {
		name = ""
	}
	made, err := d.cli.ContainerCreate(ctx, client.ContainerCreateOptions{Config: config, HostConfig: host, Name: name})
	return made.ID, err
}

// exec makes a container healthy or unhealthy.
func (d *Driver) exec(ctx context.Context, id string) error {
	e, err := d.cli.ExecCreate(ctx, id, client.ExecCreateOptions{Cmd: []string{"/prog", d.pick("touch", "rm"), "/healthy"}})
	if err != nil {
		return err
	}
	_, err = d.cli.ExecStart(ctx, e.ID, client.ExecStartOptions{Detach: true})
	return err
}

func drain(r io.ReadCloser, err error) error {
	if err == nil {
		_, err = output(r)
	}
	return err
}

// output returns all that an engine says of what it does, and its error as one.
func output(r io.ReadCloser) ([]byte, error) {
	defer r.Close()
	said, err := io.ReadAll(r)
	if i := bytes.Index(said, []byte(`{"errorDetail"`)); err == nil && i >= 0 {
		err = fmt.Errorf("%s", bytes.TrimSpace(said[i:]))
	}
	return said, err
}

func (d *Driver) importImage(ctx context.Context, ref string) error {
	r, err := d.cli.ImageImport(ctx, client.ImageImportSource{Source: bytes.NewReader(d.rootfs), SourceName: "-"}, ref,
		client.ImageImportOptions{Message: fmt.Sprint(d.rng.IntN(100)), Changes: []string{"LABEL oracle=" + d.pick("a", "b")}})
	if err != nil {
		return err
	}
	return drain(r, nil)
}

func (d *Driver) build(ctx context.Context, tag string) error {
	tar, err := d.buildContext()
	if err != nil {
		return err
	}
	opts := client.ImageBuildOptions{Remove: true, ForceRemove: true}
	if tag != "" {
		opts.Tags = []string{tag}
	}
	r, err := d.cli.ImageBuild(ctx, bytes.NewReader(tar), opts)
	if err != nil {
		return err
	}
	answer, err := output(r.Body)
	if err != nil {
		d.excuse("images", "", "") // what it leaves is like an untagged build's, and not in the answer
		return err
	}
	if tag == "" { // only events of containers show it, which is not urgent
		for _, step := range stepID.FindAllSubmatch(answer, -1) {
			if i, err := d.cli.ImageInspect(ctx, string(step[1])); err == nil {
				d.excuse("images", i.ID, "")
			}
		}
	}
	return nil
}

// stepID finds the images of the steps in the output of the builder that is not BuildKit.
var stepID = regexp.MustCompile(` ---(?:>|\\u003e) ([0-9a-f]{12})`)

func (d *Driver) buildContext() ([]byte, error) {
	dockerfile := fmt.Sprintf("FROM scratch\nLABEL n=%d\nCOPY file /\nENV x=%d\n", d.rng.IntN(1000), d.rng.IntN(1000))
	return realengine.Tar(map[string][]byte{"Dockerfile": []byte(dockerfile), "file": fmt.Append(nil, d.rng.Int())})
}

var imageID = regexp.MustCompile(`"aux":\{"ID":"(sha256:[0-9a-f]+)"\}`)

// buildkit builds with BuildKit, which gets the files by a call of its own.
func (d *Driver) buildkit(ctx context.Context, tag string) error {
	tar, err := d.buildContext()
	if err != nil {
		return err
	}
	const remote = "upload-request"
	id := fmt.Sprintf("%x-%d", d.rng.Uint64(), d.stream)
	uploaded := make(chan error, 1)
	go func() {
		r, err := d.cli.ImageBuild(ctx, bytes.NewReader(tar), client.ImageBuildOptions{Version: build.BuilderBuildKit, BuildID: remote + ":" + id})
		uploaded <- drain(r.Body, err)
	}()
	opts := client.ImageBuildOptions{Version: build.BuilderBuildKit, BuildID: id, RemoteContext: remote}
	if tag != "" {
		opts.Tags = []string{tag}
	}
	r, err := d.cli.ImageBuild(ctx, nil, opts)
	if err != nil {
		return errors.Join(err, <-uploaded)
	}
	answer, err := output(r.Body)
	if built := imageID.FindSubmatch(answer); tag == "" && built != nil {
		d.excuse("images", string(built[1]), "") // before moby 25 there is no event
	}
	return errors.Join(err, <-uploaded)
}

func (d *Driver) anyImage(ctx context.Context) (string, error) {
	n := d.rng.Int()
	l, err := d.cli.ImageList(ctx, client.ImageListOptions{All: true})
	if err != nil {
		return "", err
	}
	var ids []string
	for _, i := range l.Items {
		base := false
		for _, t := range i.RepoTags {
			base = base || t == BaseImage
		}
		if !base {
			ids = append(ids, i.ID)
		}
	}
	if len(ids) == 0 {
		return BaseImage, nil
	}
	return ids[n%len(ids)], nil
}

func (d *Driver) save(ctx context.Context) error {
	name := d.tag() // with it, loading moves a tag
	if d.rng.IntN(2) == 0 {
		var err error
		if name, err = d.anyImage(ctx); err != nil {
			return err
		}
	}
	r, err := d.cli.ImageSave(ctx, []string{name})
	if err != nil {
		return err
	}
	defer r.Close()
	data, err := io.ReadAll(r)
	if err == nil {
		d.saved = data
	}
	return err
}

// registry is where images are pushed to and pulled from: realengine runs one in the engine's
// own network. Elsewhere that fails, as by hand.
const registry = "127.0.0.1:5000"

func (d *Driver) push(ctx context.Context) error {
	ref := registry + "/x:" + d.pick("1", "2", "3")
	id, err := d.anyImage(ctx)
	if err != nil {
		return err
	}
	if _, err := d.cli.ImageTag(ctx, client.ImageTagOptions{Source: id, Target: ref}); err != nil {
		return err
	}
	r, err := d.cli.ImagePush(ctx, ref, client.ImagePushOptions{RegistryAuth: "e30"}) // {}
	if err != nil {
		return err
	}
	return drain(r, nil)
}

func (d *Driver) pull(ctx context.Context) error {
	r, err := d.cli.ImagePull(ctx, registry+"/x:"+d.pick("1", "2", "3"), client.ImagePullOptions{})
	if err != nil {
		return err
	}
	return drain(r, nil)
}

func (d *Driver) load(ctx context.Context) error {
	if d.saved == nil {
		return d.save(ctx)
	}
	r, err := d.cli.ImageLoad(ctx, bytes.NewReader(d.saved))
	if err != nil {
		return err
	}
	return drain(r, nil)
}

// anyNetwork returns one of the networks that were made, by its id or its name.
func (d *Driver) anyNetwork(ctx context.Context) string {
	other, n, byName := d.networkName(), d.rng.Int(), d.rng.IntN(2) == 0
	l, err := d.cli.NetworkList(ctx, client.NetworkListOptions{})
	if err != nil {
		return other
	}
	made := slices.DeleteFunc(l.Items, func(s network.Summary) bool {
		return slices.Contains([]string{"bridge", "host", "none", "podman"}, s.Name)
	})
	switch {
	case len(made) == 0:
		return other
	case byName:
		return made[n%len(made)].Name
	}
	return made[n%len(made)].ID
}

// networkOf returns a network of a container.
func (d *Driver) networkOf(ctx context.Context, id string) string {
	other, n := d.networkName(), d.rng.Int()
	c, err := d.cli.ContainerInspect(ctx, id, client.ContainerInspectOptions{})
	if err != nil || c.Container.NetworkSettings == nil || len(c.Container.NetworkSettings.Networks) == 0 {
		return other
	}
	names := slices.Sorted(maps.Keys(c.Container.NetworkSettings.Networks))
	return names[n%len(names)]
}

func (d *Driver) createNetwork(ctx context.Context) error {
	opts := client.NetworkCreateOptions{
		Driver: "bridge", Internal: d.rng.IntN(3) == 0, Labels: d.labels(),
		Options: map[string]string{"oracle": "1"},
	}
	if d.rng.IntN(4) == 0 {
		n := d.rng.IntN(200)
		yes := true
		opts.EnableIPv6, opts.IPAM = &yes, &network.IPAM{Config: []network.IPAMConfig{
			{Subnet: netip.MustParsePrefix(fmt.Sprintf("fd00:%x::/64", n))}, {Subnet: netip.MustParsePrefix(fmt.Sprintf("10.99.%d.0/24", n))},
		}}
	}
	return d.network(func(ctx context.Context) error {
		_, err := d.cli.NetworkCreate(ctx, d.networkName(), opts)
		return err
	})(ctx)
}

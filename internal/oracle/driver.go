package oracle

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"

	"github.com/docker-rd/docker-rd/internal/realengine"
)

// A Driver does random things to an engine. What it does depends on its seed alone,
// as far as the engine's answers do.
type Driver struct {
	cli    *client.Client
	rng    *rand.Rand
	rootfs []byte
	saved  []byte // what the last save brought

	// Quiet leaves out what engines send no event for, as far as that is known before.
	// Silent notes that such a thing was done.
	Quiet, Silent bool
	// Podman: the engine is podman, which tells of no networks.
	Podman bool
	// Done and Failed count the operations: many fail, as they would by hand.
	Done, Failed map[string]int
	Log          func(format string, args ...any)
}

// BaseImage is the image that the driver's containers are made of.
const BaseImage = "oracle/base:latest"

// NewDriver returns a driver. Rootfs is that of [realengine.RootFS].
func NewDriver(cli *client.Client, seed, stream uint64, rootfs []byte) *Driver {
	return &Driver{
		cli: cli, rng: rand.New(rand.NewPCG(seed, stream)), rootfs: rootfs,
		Done: map[string]int{}, Failed: map[string]int{}, Log: func(string, ...any) {},
	}
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

type operation struct {
	name   string
	weight int
	run    func(context.Context) error
}

func (d *Driver) operations() []operation {
	ops := []operation{
		{"create", 8, d.create},
		{"start", 12, d.on(func(ctx context.Context, id string) error {
			_, err := d.cli.ContainerStart(ctx, id, client.ContainerStartOptions{})
			return err
		})},
		{"stop", 5, d.on(func(ctx context.Context, id string) error {
			zero := 0
			_, err := d.cli.ContainerStop(ctx, id, client.ContainerStopOptions{Timeout: &zero})
			return err
		})},
		{"restart", 3, d.on(func(ctx context.Context, id string) error {
			zero := 0
			_, err := d.cli.ContainerRestart(ctx, id, client.ContainerRestartOptions{Timeout: &zero})
			return err
		})},
		{"kill", 4, d.on(func(ctx context.Context, id string) error {
			_, err := d.cli.ContainerKill(ctx, id, client.ContainerKillOptions{Signal: "KILL"})
			return err
		})},
		{"pause", 4, d.on(func(ctx context.Context, id string) error {
			_, err := d.cli.ContainerPause(ctx, id, client.ContainerPauseOptions{})
			return err
		})},
		{"unpause", 4, d.on(func(ctx context.Context, id string) error {
			_, err := d.cli.ContainerUnpause(ctx, id, client.ContainerUnpauseOptions{})
			return err
		})},
		{"rename", 4, d.on(func(ctx context.Context, id string) error {
			_, err := d.cli.ContainerRename(ctx, id, client.ContainerRenameOptions{NewName: d.containerName()})
			return err
		})},
		{"update", 3, d.on(func(ctx context.Context, id string) error {
			policy := d.restartPolicy()
			_, err := d.cli.ContainerUpdate(ctx, id, client.ContainerUpdateOptions{RestartPolicy: &policy})
			return err
		})},
		{"exec", 4, d.on(d.exec)},
		{"rm", 4, d.on(func(ctx context.Context, id string) error {
			_, err := d.cli.ContainerRemove(ctx, id, client.ContainerRemoveOptions{})
			return err
		})},
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
			id, err := d.anyImage(ctx)
			if err != nil {
				return err
			}
			_, err = d.cli.ImageTag(ctx, client.ImageTagOptions{Source: id, Target: d.tag()})
			return err
		}},
		{"untag", 3, func(ctx context.Context) error {
			_, err := d.cli.ImageRemove(ctx, d.tag(), client.ImageRemoveOptions{})
			return err
		}},
		{"rmi", 2, func(ctx context.Context) error {
			id, err := d.anyImage(ctx)
			if err != nil {
				return err
			}
			if id == BaseImage {
				return nil // there would be no containers without it
			}
			_, err = d.cli.ImageRemove(ctx, id, client.ImageRemoveOptions{Force: d.rng.IntN(2) == 0, PruneChildren: true})
			return err
		}},
		{"commit", 2, d.on(func(ctx context.Context, id string) error {
			_, err := d.cli.ContainerCommit(ctx, id, client.ContainerCommitOptions{Reference: d.tag(), NoPause: true})
			return err
		})},
		{"commit untagged", 1, d.on(func(ctx context.Context, id string) error {
			_, err := d.cli.ContainerCommit(ctx, id, client.ContainerCommitOptions{NoPause: true})
			return err
		})},
		{"build", 2, func(ctx context.Context) error { return d.build(ctx, d.tag()) }},
		{"save", 1, d.save},
		{"load", 1, d.load},
		{"image prune", 1, func(ctx context.Context) error {
			_, err := d.cli.ImagePrune(ctx, client.ImagePruneOptions{})
			return err
		}},
		{"volume create", 5, func(ctx context.Context) error {
			_, err := d.cli.VolumeCreate(ctx, client.VolumeCreateOptions{Name: d.volumeName(), Labels: d.labels()})
			return err
		}},
		{"volume rm", 4, func(ctx context.Context) error {
			_, err := d.cli.VolumeRemove(ctx, d.volumeName(), client.VolumeRemoveOptions{})
			return err
		}},
		{"volume prune", 1, func(ctx context.Context) error {
			_, err := d.cli.VolumePrune(ctx, client.VolumePruneOptions{})
			return err
		}},
		{"network create", 3, d.createNetwork},
		{"network rm", 3, func(ctx context.Context) error {
			_, err := d.cli.NetworkRemove(ctx, d.networkName(), client.NetworkRemoveOptions{})
			return err
		}},
		{"network prune", 1, func(ctx context.Context) error {
			_, err := d.cli.NetworkPrune(ctx, client.NetworkPruneOptions{})
			return err
		}},
		{"connect", 4, d.on(func(ctx context.Context, id string) error {
			if d.Quiet && !d.running(ctx, id) {
				return nil // no event
			}
			_, err := d.cli.NetworkConnect(ctx, d.networkName(), client.NetworkConnectOptions{Container: id})
			return err
		})},
		{"disconnect", 3, d.on(func(ctx context.Context, id string) error {
			if d.Quiet && !d.running(ctx, id) {
				return nil
			}
			_, err := d.cli.NetworkDisconnect(ctx, d.networkName(), client.NetworkDisconnectOptions{Container: id, Force: d.rng.IntN(2) == 0})
			return err
		})},
	}
	if !d.Quiet {
		ops = append(ops, operation{"build untagged", 1, func(ctx context.Context) error { return d.build(ctx, "") }})
	}
	return ops
}

// Step does one random thing. An error is no failure of the test: the engine refuses
// much.
func (d *Driver) Step(ctx context.Context) {
	ops := d.operations()
	total := 0
	for _, o := range ops {
		total += o.weight
	}
	n := d.rng.IntN(total)
	for _, o := range ops {
		if n -= o.weight; n >= 0 {
			continue
		}
		ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
		err := o.run(ctx)
		cancel()
		d.Done[o.name]++
		if d.Podman && (strings.HasPrefix(o.name, "network") || o.name == "connect" || o.name == "disconnect") {
			d.Silent = true
		}
		if err != nil {
			d.Failed[o.name]++
			if o.name == "start" || o.name == "restart" {
				d.Silent = true // it may have left an error and an exit code
			}
		}
		d.Log("%s: %v", o.name, err)
		return
	}
}

// Drive lets several drivers do so many steps together.
func Drive(ctx context.Context, drivers []*Driver, steps int) {
	var all sync.WaitGroup
	for _, d := range drivers {
		all.Go(func() {
			for range steps / len(drivers) {
				d.Step(ctx)
			}
		})
	}
	all.Wait()
}

// on picks a random container.
func (d *Driver) on(do func(context.Context, string) error) func(context.Context) error {
	return func(ctx context.Context) error {
		l, err := d.cli.ContainerList(ctx, client.ContainerListOptions{All: true})
		if err != nil {
			return err
		}
		n := d.rng.Int()
		if len(l.Items) == 0 {
			return d.create(ctx)
		}
		return do(ctx, l.Items[n%len(l.Items)].ID)
	}
}

func (d *Driver) running(ctx context.Context, id string) bool {
	c, err := d.cli.ContainerInspect(ctx, id, client.ContainerInspectOptions{})
	return err == nil && c.Container.State != nil && c.Container.State.Running
}

func (d *Driver) pick(list ...string) string { return list[d.rng.IntN(len(list))] }

// Few names, so that they meet.
func (d *Driver) containerName() string {
	return d.pick("a", "b-1", "C.d", "e_f", "0", "long", "name", "zz", "x9") + d.pick("", "1", "2", "3", "-4", "_5", ".6")
}
func (d *Driver) volumeName() string { return d.pick("v0", "v-1", "V.2", "v_3", "vol4", "vol5") }
func (d *Driver) tag() string {
	return "oracle/" + d.pick("one", "two", "three/four", "f-i.v_e") + ":" + d.pick("latest", "1", "v1.0_x")
}

func (d *Driver) networkName() string {
	return d.pick("n0", "a name with spaces", "slash/ed", "ünïcode ☃", `quo"ted\`, "dot.ted")
}

func (d *Driver) labels() map[string]string {
	if d.rng.IntN(2) == 0 {
		return nil
	}
	return map[string]string{"oracle": d.pick("x", "", "<&>\u2028", `{"json":true}`), d.pick("k", "com.example/key"): "v"}
}

func (d *Driver) restartPolicy() container.RestartPolicy {
	switch d.rng.IntN(5) {
	case 0:
		return container.RestartPolicy{Name: container.RestartPolicyOnFailure, MaximumRetryCount: 3}
	case 1:
		return container.RestartPolicy{Name: container.RestartPolicyUnlessStopped}
	}
	return container.RestartPolicy{Name: container.RestartPolicyDisabled}
}

func (d *Driver) create(ctx context.Context) error {
	cmd := [][]string{
		{"/prog", "sleep"}, {"/prog", "sleep"}, {"/prog", "sleep", "300", "0"}, {"/prog", "sleep", "100", "3"},
		{"/prog", "exit", "7"}, {"/prog", "eat"}, {"/missing"},
	}[d.rng.IntN(7)]
	config := &container.Config{Image: BaseImage, Cmd: cmd, Labels: d.labels(), Env: []string{"SECRET=oracle-secret"}}
	host := &container.HostConfig{RestartPolicy: d.restartPolicy()}
	host.Memory = 32 << 20
	if len(cmd) != 2 || cmd[1] != "sleep" {
		// One that ends by itself would restart for ever.
		host.RestartPolicy = container.RestartPolicy{Name: container.RestartPolicyOnFailure, MaximumRetryCount: d.rng.IntN(3)}
	}
	if d.rng.IntN(4) == 0 {
		config.Healthcheck = &container.HealthConfig{Test: []string{"CMD", "/prog", "check"}, Interval: 200 * time.Millisecond, Timeout: 5 * time.Second, Retries: 1}
	}
	if d.rng.IntN(3) == 0 {
		host.Mounts = append(host.Mounts, mount.Mount{Type: mount.TypeVolume, Source: d.volumeName(), Target: "/data", ReadOnly: d.rng.IntN(2) == 0})
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
	host.AutoRemove = d.rng.IntN(10) == 0 && host.RestartPolicy.Name == container.RestartPolicyDisabled
	name := d.containerName()
	if d.rng.IntN(6) == 0 {
		name = ""
	}
	_, err := d.cli.ContainerCreate(ctx, client.ContainerCreateOptions{Config: config, HostConfig: host, Name: name})
	return err
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
	if err != nil {
		return err
	}
	defer r.Close()
	_, err = io.Copy(io.Discard, r)
	return err
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
	dockerfile := fmt.Sprintf("FROM scratch\nLABEL n=%d\nCOPY file /\nENV x=%d\n", d.rng.IntN(1000), d.rng.IntN(1000))
	tar, err := realengine.Tar(map[string][]byte{"Dockerfile": []byte(dockerfile), "file": fmt.Append(nil, d.rng.Int())})
	if err != nil {
		return err
	}
	opts := client.ImageBuildOptions{Remove: true, ForceRemove: true}
	if tag != "" {
		opts.Tags = []string{tag}
	}
	r, err := d.cli.ImageBuild(ctx, bytes.NewReader(tar), opts)
	return drain(r.Body, err)
}

func (d *Driver) anyImage(ctx context.Context) (string, error) {
	l, err := d.cli.ImageList(ctx, client.ImageListOptions{All: true})
	n := d.rng.Int()
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
	id, err := d.anyImage(ctx)
	if err != nil {
		return err
	}
	r, err := d.cli.ImageSave(ctx, []string{id})
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

func (d *Driver) createNetwork(ctx context.Context) error {
	_, err := d.cli.NetworkCreate(ctx, d.networkName(), client.NetworkCreateOptions{
		Driver: "bridge", Internal: d.rng.IntN(3) == 0, Labels: d.labels(),
		Options: map[string]string{"oracle": "1"},
	})
	return err
}

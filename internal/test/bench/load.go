//go:build linux

package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"sync"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
	"golang.org/x/sync/errgroup"

	"github.com/docker-rd/docker-rd/internal/test/fakeengine"
	"github.com/docker-rd/docker-rd/internal/test/realengine"
)

// A size is how many objects of each kind there are.
type size struct{ containers, images, volumes, networks int }

func (s size) total() int { return s.containers + s.images + s.volumes + s.networks }

func (s size) times(n int) size {
	return size{s.containers * n, s.images * n, s.volumes * n, s.networks * n}
}

func (s size) String() string {
	return fmt.Sprintf("%d containers, %d images, %d volumes, %d networks", s.containers, s.images, s.volumes, s.networks)
}

// A subject is an engine with many objects.
type subject struct {
	name   string
	socket string
	// change changes the n-th object, which then has the given name.
	change func(ctx context.Context, n int, name string) error
	close  func() error
}

func (s *subject) host() string { return "unix://" + s.socket }

// realEngine is a private dockerd with so many objects.
func (b *bench) realEngine(ctx context.Context, n size) (*subject, error) {
	dir := filepath.Join(b.dir, "real")
	engine, err := realengine.StartDockerd(ctx, dir)
	if err != nil {
		return nil, err
	}
	cli, err := client.New(client.WithHost("unix://" + engine.Socket))
	if err != nil {
		return nil, err
	}
	s := &subject{name: "dockerd", socket: engine.Socket, close: func() error {
		_ = cli.Close()
		return engine.Close()
	}}
	ids, err := fill(ctx, cli, n)
	if err != nil {
		_ = s.close()
		return nil, fmt.Errorf("fill the engine: %w", err)
	}
	s.change = func(ctx context.Context, i int, name string) error {
		_, err := cli.ContainerRename(ctx, ids[i%len(ids)], client.ContainerRenameOptions{NewName: name})
		return err
	}
	return s, nil
}

// fill makes objects, several at a time, and returns the ids of the containers.
func fill(ctx context.Context, cli *client.Client, n size) ([]string, error) {
	var mu sync.Mutex
	var ids []string
	image := func(ctx context.Context, i int) error {
		tar, err := realengine.Tar(map[string][]byte{"file": fmt.Append(nil, i)})
		if err != nil {
			return err
		}
		r, err := cli.ImageImport(ctx, client.ImageImportSource{Source: bytes.NewReader(tar), SourceName: "-"}, fmt.Sprintf("bench/image%d:latest", i), client.ImageImportOptions{})
		if err != nil {
			return err
		}
		defer r.Close()
		_, err = io.Copy(io.Discard, r)
		return err
	}
	if err := image(ctx, 0); err != nil {
		return nil, err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(8)
	for i := 1; i < n.images; i++ {
		g.Go(func() error { return image(ctx, i) })
	}
	for i := range n.containers {
		g.Go(func() error {
			c, err := cli.ContainerCreate(ctx, client.ContainerCreateOptions{
				Name:   fmt.Sprintf("container%d", i),
				Config: &container.Config{Image: "bench/image0:latest", Cmd: []string{"/file"}, Labels: map[string]string{"n": fmt.Sprint(i)}},
			})
			mu.Lock()
			defer mu.Unlock()
			ids = append(ids, c.ID)
			return err
		})
	}
	for i := range n.volumes {
		g.Go(func() error {
			_, err := cli.VolumeCreate(ctx, client.VolumeCreateOptions{Name: fmt.Sprintf("volume%d", i)})
			return err
		})
	}
	for i := range n.networks {
		g.Go(func() error {
			_, err := cli.NetworkCreate(ctx, fmt.Sprintf("network%d", i), client.NetworkCreateOptions{Driver: "bridge"})
			return err
		})
	}
	return ids, g.Wait()
}

// fakeEngine is an engine that answers at once, with so many objects.
func (b *bench) fakeEngine(name string, n size) (*subject, *fakeengine.Engine, error) {
	socket := filepath.Join(b.dir, name+".sock")
	engine, err := fakeengine.Start(socket)
	if err != nil {
		return nil, nil, err
	}
	engine.Populate(n.containers, n.images, n.volumes, n.networks)
	ids := engine.IDs("containers")
	return &subject{
		name: "a fake engine", socket: socket, close: engine.Close,
		change: func(_ context.Context, i int, name string) error {
			engine.ChangeContainer(ids[i%len(ids)], func(c *container.InspectResponse) { c.Name = "/" + name }, "rename")
			return nil
		},
	}, engine, nil
}

// objects asks docker for the names of all objects that it can inspect, by kind.
func (h *home) objects(ctx context.Context, host string) (map[string][]string, error) {
	out := map[string][]string{}
	for kind, list := range map[string][]string{
		"container": {"ps", "-aq", "--no-trunc"}, "image": {"images", "-aq", "--no-trunc"},
		"volume": {"volume", "ls", "-q"}, "network": {"network", "ls", "-q", "--no-trunc"},
	} {
		text, err := h.output(ctx, "docker", append([]string{"-H", host}, list...)...)
		if err != nil {
			return nil, err
		}
		out[kind] = strings.Fields(text)
	}
	return out, nil
}

//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	containersapi "github.com/containerd/containerd/api/services/containers/v1"
	imagesapi "github.com/containerd/containerd/api/services/images/v1"
	namespacesapi "github.com/containerd/containerd/api/services/namespaces/v1"
	tasksapi "github.com/containerd/containerd/api/services/tasks/v1"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/docker-rd/docker-rd/internal/pause"
)

// listCommand makes this program one that lists what a containerd has by its own packages.
const listCommand = "list-once"

// containerdNamespace is the one of the objects of the measurement.
const containerdNamespace = "default"

// containerd measures the mirror of a containerd of docker-rd's own.
func (b *bench) containerd(ctx context.Context) (err error) {
	h, err := b.newHome("cd")
	if err != nil {
		return err
	}
	// Whatever fails later, no engine is left.
	defer func() {
		_, stopErr := h.rd(context.WithoutCancel(ctx), "stop", "--force")
		err = errors.Join(err, stopErr)
	}()
	if _, err := h.rd(ctx, "start", "--engine", "containerd"); err != nil {
		return err
	}
	w := &watched{home: h}
	if w.file, err = h.output(ctx, h.bin, "paths", "default", "state"); err != nil {
		return err
	}
	socket, err := h.output(ctx, h.bin, "paths", "default", "socket")
	if err != nil {
		return err
	}
	conn, err := grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer conn.Close()
	api := containersapi.NewContainersClient(conn)
	in := metadata.AppendToOutgoingContext(ctx, "containerd-namespace", containerdNamespace)
	if err := fillContainerd(in, api, many.containers); err != nil {
		return fmt.Errorf("fill the engine: %w", err)
	}
	b.table.note("containerd with %d containers:", many.containers)
	if err := b.containerdSyncs(ctx, h, socket); err != nil {
		return err
	}
	changed := make(map[int]time.Time, many.containers)
	a := newArrivals(w.file)
	following, stop := context.WithCancel(ctx)
	defer stop()
	done := make(chan struct{})
	go func() {
		defer close(done)
		a.follow(following)
	}()
	for n := range many.containers { // one after the other, each as it comes
		changed[n] = time.Now()
		_, err := api.Update(in, &containersapi.UpdateContainerRequest{
			Container:  &containersapi.Container{ID: containerID(n), Labels: map[string]string{"nerdctl/name": fmt.Sprintf("%s%d", arrivalPrefix, n)}},
			UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"labels.nerdctl/name"}},
		})
		if err != nil {
			return err
		}
		time.Sleep(time.Until(changed[n].Add(time.Second / eventRate)))
	}
	if err := pause.For(ctx, 3*time.Second); err != nil {
		return err
	}
	stop()
	<-done
	a.sent = changed
	lags, lost := a.result()
	b.table.atMost("from a call that changes to the file, median", lags.median(), 20*time.Millisecond)
	b.table.atMost("from a call that changes to the file, 99th percentile", lags.percentile(99), 100*time.Millisecond)
	b.table.count("changes that did not arrive", lost, 0, "")
	return nil
}

// containerdSyncs compares a full sync, and reading the file, with lists.
func (b *bench) containerdSyncs(ctx context.Context, h *home, socket string) error {
	self := "/proc/self/exe"
	var listed, synced samples
	all, err := inTurns(b.rounds,
		func() (time.Duration, error) { return h.time(ctx, self, listCommand, socket) },
		func() (time.Duration, error) {
			t, err := b.syncOnceOf(ctx, socket, 0, filepath.Join(h.dir, "rd", "data", "default"))
			listed, synced = append(listed, t.listed), append(synced, t.synced)
			return t.synced, err
		},
		func() (time.Duration, error) { return h.rd(ctx, "get", "containers", "--format", "json") },
		func() (time.Duration, error) {
			return h.time(ctx, "ctr", "--address", socket, "--namespace", containerdNamespace, "containers", "ls")
		})
	if err != nil {
		return err
	}
	b.table.ratio("sync from an empty file to Listed / the raw lists", listed[1:], all[0], 1.5)
	b.table.ratio("sync from an empty file to Synced / the raw lists", synced[1:], all[0], 3.5)
	b.table.ratio("docker-rd get containers, as JSON / ctr containers ls", all[2], all[3], 1)
	return nil
}

func containerID(n int) string { return fmt.Sprintf("container%d", n) }

// fillContainerd makes containers, each with a specification of the usual size.
func fillContainerd(ctx context.Context, api containersapi.ContainersClient, n int) error {
	spec := fmt.Appendf(nil, `{"ociVersion":"1.0.2","process":{"args":["/prog","sleep"],"env":["PADDING=%s"],"cwd":"/"},"root":{"path":"rootfs"},"linux":{}}`,
		slices.Repeat([]byte("x"), 7900))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(8)
	for i := range n {
		g.Go(func() error {
			_, err := api.Create(ctx, &containersapi.CreateContainerRequest{Container: &containersapi.Container{
				ID: containerID(i), Image: "example.org/none:1", Labels: map[string]string{"n": fmt.Sprint(i)},
				Runtime: &containersapi.Container_Runtime{Name: "io.containerd.runc.v2"},
				Spec:    &anypb.Any{TypeUrl: "types.containerd.io/opencontainers/runtime-spec/1/Spec", Value: spec},
			}})
			return err
		})
	}
	return g.Wait()
}

// listMain is the process of [listCommand].
func listMain(socket string) error {
	conn, err := grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(1<<30)))
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx := context.Background()
	list, err := namespacesapi.NewNamespacesClient(conn).List(ctx, &namespacesapi.ListNamespacesRequest{})
	if err != nil {
		return err
	}
	for _, ns := range list.Namespaces {
		in := metadata.AppendToOutgoingContext(ctx, "containerd-namespace", ns.Name)
		_, err1 := containersapi.NewContainersClient(conn).List(in, &containersapi.ListContainersRequest{})
		_, err2 := tasksapi.NewTasksClient(conn).List(in, &tasksapi.ListTasksRequest{})
		_, err3 := imagesapi.NewImagesClient(conn).List(in, &imagesapi.ListImagesRequest{})
		if err := errors.Join(err1, err2, err3); err != nil {
			return err
		}
	}
	return nil
}

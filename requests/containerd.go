package requests

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	containersapi "github.com/containerd/containerd/api/services/containers/v1"
	tasksapi "github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/containerd/api/types/task"
	cerrdefs "github.com/containerd/errdefs"

	"github.com/docker-rd/docker-rd/internal/containerd"
	"github.com/docker-rd/docker-rd/mirror"
	"github.com/docker-rd/docker-rd/mirror/state"
)

// ctrd is an [engine] that is a containerd.
type ctrd struct{ *mirror.Containerd }

// Labels of containers with which containerd and nerdctl decide about restarts and output.
const (
	labelPolicy  = "containerd.io/restart.policy"
	labelStopped = "containerd.io/restart.explicitly-stopped"
	labelLog     = "nerdctl/log-uri"
)

func (c ctrd) look(ctx context.Context, key string) (seen, error) {
	o, err := c.Look(ctx, key)
	return seen{state: o.State, startedAt: o.StartedAt, stopTimeout: containerd.StopGrace}, err
}

func (c ctrd) order(ctx context.Context, key, action string) error {
	namespace, id := containerd.SplitKey(key)
	switch action {
	case ActionStart:
		return c.start(ctx, namespace, id)
	case ActionStop:
		return c.stop(ctx, namespace, id)
	case ActionPause:
		return c.Pause(ctx, namespace, id)
	case ActionUnpause:
		return c.Resume(ctx, namespace, id)
	case ActionRestart:
		if err := c.stop(ctx, namespace, id); err != nil {
			return err
		}
		return c.start(ctx, namespace, id)
	}
	return nil
}

// tell tells containerd whether a container with a restart policy was stopped on purpose.
func (c ctrd) tell(ctx context.Context, namespace string, one *containersapi.Container, stopped bool) error {
	if one.Labels[labelPolicy] == "" {
		return nil
	}
	return c.SetLabel(ctx, namespace, one.ID, labelStopped, fmt.Sprint(stopped))
}

// stop stops the task. When ctx ends first, as with the supervisor, that is not for want of patience: the
// task is not killed then.
func (c ctrd) stop(ctx context.Context, namespace, id string) error {
	one, err := c.Container(ctx, namespace, id)
	if err == nil {
		err = c.tell(ctx, namespace, one, true)
	}
	if err != nil {
		return err
	}
	stopped := make(chan error, 1)
	go func() { // until the connection is closed
		_, err := c.StopTask(context.WithoutCancel(ctx), namespace, id)
		stopped <- err
	}()
	select {
	case err := <-stopped:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// start makes a new task in place of one that has ended. Its output goes where nerdctl wants it,
// else nowhere: its former reader is gone.
func (c ctrd) start(ctx context.Context, namespace, id string) error {
	one, err := c.Container(ctx, namespace, id)
	if err != nil {
		return err
	}
	if err := c.DeleteTask(ctx, namespace, id); err != nil && !cerrdefs.IsNotFound(err) {
		return err
	}
	var spec struct {
		Process struct {
			Terminal bool `json:"terminal"`
		} `json:"process"`
	}
	if err := json.Unmarshal(one.Spec.GetValue(), &spec); err != nil {
		return fmt.Errorf("specification of container %q: %w", id, err)
	}
	r := &tasksapi.CreateTaskRequest{ContainerID: id, Terminal: spec.Process.Terminal, Stdout: one.Labels[labelLog], Stderr: one.Labels[labelLog]}
	if r.Terminal {
		r.Stderr = ""
	}
	if one.SnapshotKey != "" {
		if r.Rootfs, err = c.Mounts(ctx, namespace, one.Snapshotter, one.SnapshotKey); err != nil {
			return err
		}
	}
	if err := c.tell(ctx, namespace, one, false); err != nil {
		return err
	}
	if err := c.CreateTask(ctx, namespace, r); err != nil {
		return err
	}
	if err := c.StartTask(ctx, namespace, id); err != nil {
		return errors.Join(err, c.DeleteTask(context.WithoutCancel(ctx), namespace, id))
	}
	return nil
}

func (c ctrd) remove(ctx context.Context, t target, pin time.Time) (whole bool, err error) {
	namespace, id := containerd.SplitKey(t.key)
	switch t.kind {
	case state.Containers:
		return true, c.removeContainer(ctx, namespace, id)
	case state.Images:
		return c.removeImage(ctx, namespace, id, t.reference)
	case state.Volumes:
		if err := c.inUse(ctx, namespace, func(o state.Container) bool {
			return slices.ContainsFunc(o.Mounts, func(m state.Mount) bool { return m.Type == "volume" && m.Name == id })
		}); err != nil {
			return false, err
		}
		if changed, err := c.RemoveVolume(namespace, id, pin); changed || err != nil {
			if changed {
				err = errChanged
			}
			return false, err
		}
		return true, nil
	case state.Networks:
		n, remove, err := c.Network(t.key)
		if err != nil {
			return false, err
		}
		if err := c.inUse(ctx, namespace, func(o state.Container) bool {
			return slices.ContainsFunc(o.Networks, func(a state.Attachment) bool { return a.Name == n.Name })
		}); err != nil {
			return false, err
		}
		return true, remove(ctx)
	}
	return false, fmt.Errorf("%s can't be deleted", t.kind)
}

// inUse refuses what a container of the namespace uses.
func (c ctrd) inUse(ctx context.Context, namespace string, uses func(state.Container) bool) error {
	all, err := c.Containers(ctx, namespace)
	if err != nil {
		return err
	}
	for _, one := range all {
		o, err := c.Look(ctx, containerd.Key(namespace, one.ID))
		if cerrdefs.IsNotFound(err) {
			continue
		}
		if err != nil {
			return err
		}
		if uses(o) {
			return fmt.Errorf("container %q uses it", o.Name)
		}
	}
	return nil
}

func (c ctrd) removeContainer(ctx context.Context, namespace, id string) error {
	one, err := c.Container(ctx, namespace, id)
	if err != nil {
		return err
	}
	process, err := c.Task(ctx, namespace, id)
	switch {
	case err != nil && !cerrdefs.IsNotFound(err):
		return err
	case err == nil && process.Status != task.Status_STOPPED && process.Status != task.Status_CREATED:
		return errors.New("the container is running: stop it first")
	case err == nil && process.Status == task.Status_CREATED:
		_ = c.Kill(ctx, namespace, id, 9, true)
		_ = c.Wait(ctx, namespace, id)
	}
	if err := c.DeleteTask(ctx, namespace, id); err != nil && !cerrdefs.IsNotFound(err) {
		return err
	}
	if one.SnapshotKey != "" {
		if err := c.RemoveSnapshot(ctx, namespace, one.Snapshotter, one.SnapshotKey); err != nil && !cerrdefs.IsNotFound(err) {
			return err
		}
	}
	if err := c.DeleteContainer(ctx, namespace, id); err != nil {
		return err
	}
	return c.Forget(namespace, one)
}

// removeImage deletes the name of an image, or all names that lead to it.
func (c ctrd) removeImage(ctx context.Context, namespace, digest, reference string) (whole bool, err error) {
	all, err := c.Images(ctx, namespace)
	if err != nil {
		return false, err
	}
	var names, others []string
	for _, i := range all {
		switch {
		case i.Target.GetDigest() != digest:
		case reference == "" || i.Name == reference:
			names = append(names, i.Name)
		default:
			others = append(others, i.Name)
		}
	}
	err = c.inUse(ctx, namespace, func(o state.Container) bool { return slices.Contains(names, o.ImageRef) })
	if err != nil {
		return false, err
	}
	for _, name := range names {
		if err := c.DeleteImage(ctx, namespace, name); err != nil && !cerrdefs.IsNotFound(err) {
			return false, err
		}
	}
	return len(others) == 0, nil
}

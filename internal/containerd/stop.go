package containerd

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/containerd/containerd/api/types/task"
	"github.com/containerd/errdefs"
)

// Key returns what an object of a namespace is called where those of all namespaces are: an id
// alone may be in several. There is no "/" in the name of a namespace.
func Key(namespace, id string) string { return namespace + "/" + id }

// SplitKey is the inverse of [Key].
func SplitKey(key string) (namespace, id string) {
	namespace, id, _ = strings.Cut(key, "/")
	return namespace, id
}

// stopSignal is the label of a container with the signal that ends it.
const stopSignal = "io.containerd.image.config.stop-signal"

// StopGrace is how long a container has to stop before it is killed, as docker's have.
const StopGrace = 10 * time.Second

// StopTask ends the task of a container: with the container's signal, and by force when [StopGrace]
// is over, or with the context. The task is left, so that others can ask how it ended.
func (c *Client) StopTask(ctx context.Context, namespace, id string) (killed bool, err error) {
	t, err := c.Task(ctx, namespace, id)
	if err != nil || t.Status == task.Status_STOPPED {
		return false, ignoreNotFound(err)
	}
	container, err := c.Container(ctx, namespace, id)
	if err != nil {
		return false, ignoreNotFound(err)
	}
	if err := c.Kill(ctx, namespace, id, signalOf(container.Labels[stopSignal]), false); err != nil {
		return false, ignoreNotFound(err)
	}
	if t.Status == task.Status_PAUSED || t.Status == task.Status_PAUSING {
		_ = c.Resume(ctx, namespace, id) // a frozen process does not react to signals
	}
	if ended, err := c.waitFor(ctx, StopGrace, namespace, id); ended || err != nil {
		return false, err
	}
	last := context.WithoutCancel(ctx)
	if err := c.Kill(last, namespace, id, sigkill, true); err != nil {
		// Without control groups only the first process is known, with which the others end.
		if err := c.Kill(last, namespace, id, sigkill, false); err != nil {
			return false, ignoreNotFound(err)
		}
	}
	ended, err := c.waitFor(last, killPatience, namespace, id)
	if !ended && err == nil {
		err = fmt.Errorf("container %q was killed and does not end", id)
	}
	return true, err
}

// waitFor reports whether a task ends within the time, or before the context does.
func (c *Client) waitFor(ctx context.Context, d time.Duration, namespace, id string) (ended bool, err error) {
	// The call is cancelled and has no deadline: containerd would answer at that with an error
	// that says nothing.
	call, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, cancel)()
	defer time.AfterFunc(d, cancel).Stop()
	err = c.Wait(call, namespace, id)
	switch {
	case err == nil, errdefs.IsNotFound(err):
		return true, nil
	case call.Err() != nil:
		return false, nil
	}
	return false, err
}

// killPatience is how long the end of a task may take that was killed.
const killPatience = 5 * time.Second

func ignoreNotFound(err error) error {
	if errdefs.IsNotFound(err) {
		return nil
	}
	return err
}

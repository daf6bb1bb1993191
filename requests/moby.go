package requests

import (
	"context"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/image"
	"github.com/moby/moby/client"

	"github.com/docker-rd/docker-rd/mirror"
	"github.com/docker-rd/docker-rd/mirror/state"
)

// moby is an [engine] that speaks Docker's API.
type moby struct{ *mirror.Moby }

func (m moby) order(ctx context.Context, id, action string) (err error) {
	switch action {
	case ActionStart:
		_, err = m.ContainerStart(ctx, id, client.ContainerStartOptions{})
	case ActionStop:
		_, err = m.ContainerStop(ctx, id, client.ContainerStopOptions{})
	case ActionPause:
		_, err = m.ContainerPause(ctx, id, client.ContainerPauseOptions{})
	case ActionUnpause:
		_, err = m.ContainerUnpause(ctx, id, client.ContainerUnpauseOptions{})
	case ActionRestart:
		_, err = m.ContainerRestart(ctx, id, client.ContainerRestartOptions{})
	}
	return err
}

func (m moby) look(ctx context.Context, id string) (seen, error) {
	c, err := m.ContainerInspect(ctx, id, client.ContainerInspectOptions{})
	if err != nil {
		return seen{}, err
	}
	s := seen{state: state.StateUnknown, stopTimeout: StopTimeout(c.Container.Config)}
	if c.Container.State != nil {
		s.state = mirror.ContainerState(string(c.Container.State.Status))
		s.startedAt = mirror.ParseTime(c.Container.State.StartedAt)
	}
	return s, nil
}

const (
	// defaultStopTimeout is how long docker gives a container that has no time of its own to stop.
	defaultStopTimeout = 10 * time.Second
	// Forever is the time of a container that is never killed. More can be added to it.
	Forever = time.Duration(math.MaxInt64 / 2)
)

// StopTimeout returns how long a container has to stop, which may be [Forever], before docker
// kills it. Its configuration may be nil.
func StopTimeout(c *container.Config) time.Duration {
	switch {
	case c == nil || c.StopTimeout == nil:
		return defaultStopTimeout
	case *c.StopTimeout < 0, int64(*c.StopTimeout) > int64(Forever/time.Second):
		return Forever
	}
	return time.Duration(*c.StopTimeout) * time.Second
}

func (m moby) remove(ctx context.Context, t target, pin time.Time) (whole bool, err error) {
	whole = t.reference == ""
	switch t.kind {
	case state.Containers:
		_, err = m.ContainerRemove(ctx, t.key, client.ContainerRemoveOptions{})
	case state.Networks:
		var name string
		if name, err = m.removable(ctx, t.key); err == nil {
			_, err = m.NetworkRemove(ctx, name, client.NetworkRemoveOptions{})
		}
	case state.Volumes:
		// The engine knows volumes by name alone. Nothing can come between this look
		// and the removal but another removal and creation at the same instant.
		var v client.VolumeInspectResult
		if v, err = m.VolumeInspect(ctx, t.key, client.VolumeInspectOptions{}); err == nil {
			if !mirror.ParseTime(v.Volume.CreatedAt).Equal(pin) {
				return false, errChanged
			}
			_, err = m.VolumeRemove(ctx, t.key, client.VolumeRemoveOptions{})
		}
	case state.Images:
		ref := t.key
		if t.reference != "" {
			ref = t.reference
			var i client.ImageInspectResult
			if i, err = m.ImageInspect(ctx, ref); err == nil && i.ID != t.key {
				return false, nil // the reference is another image's: not what was meant
			}
		}
		if err == nil {
			var removed client.ImageRemoveResult
			removed, err = m.ImageRemove(ctx, ref, client.ImageRemoveOptions{PruneChildren: true})
			// The last reference takes the image along, in containerd the digest all.
			whole = whole || slices.ContainsFunc(removed.Items, func(i image.DeleteResponse) bool {
				return i.Deleted != "" && strings.TrimPrefix(i.Deleted, "sha256:") == strings.TrimPrefix(t.key, "sha256:") // podman leaves it out
			})
		}
	}
	return whole, err
}

// removable returns what a network is removed by, so that the engine refuses it while containers use it:
// its id, or its name where that is podman, which compares with the names that containers have.
func (m moby) removable(ctx context.Context, id string) (string, error) {
	about, err := m.About(ctx)
	if err != nil || !about.Podman {
		return id, err
	}
	return m.NetworkName(ctx, id)
}

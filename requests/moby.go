package requests

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/moby/moby/api/types/image"
	"github.com/moby/moby/client"

	"github.com/docker-rd/docker-rd/internal/endpoint"
	"github.com/docker-rd/docker-rd/mirror"
	"github.com/docker-rd/docker-rd/mirror/state"
)

// moby is an [engine] that speaks Docker's API.
type moby struct{ *endpoint.Client }

func (m moby) Ping(ctx context.Context) error {
	_, err := m.Client.Ping(ctx, client.PingOptions{NegotiateAPIVersion: true})
	return err
}

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
	default:
		err = fmt.Errorf("there is no action %q", action)
	}
	return err
}

func (m moby) look(ctx context.Context, id string) (seen, error) {
	c, err := m.ContainerInspect(ctx, id, client.ContainerInspectOptions{})
	if err != nil {
		return seen{}, err
	}
	s := seen{state: state.StateUnknown, stopTimeout: defaultStopTimeout}
	if c.Container.State != nil {
		s.state = mirror.ContainerState(string(c.Container.State.Status))
		s.startedAt = mirror.ParseTime(c.Container.State.StartedAt)
	}
	if config := c.Container.Config; config != nil && config.StopTimeout != nil {
		s.stopTimeout = time.Duration(*config.StopTimeout) * time.Second
		if s.stopTimeout < 0 {
			s.stopTimeout = forever
		}
	}
	return s, nil
}

func (m moby) remove(ctx context.Context, t target, pin time.Time) (whole bool, err error) {
	whole = t.reference == ""
	switch t.kind {
	case state.Containers:
		_, err = m.ContainerRemove(ctx, t.key, client.ContainerRemoveOptions{})
	case state.Networks:
		_, err = m.NetworkRemove(ctx, t.key, client.NetworkRemoveOptions{})
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

package mirror

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/moby/moby/client"

	"github.com/docker-rd/docker-rd/internal/endpoint"
	"github.com/docker-rd/docker-rd/mirror/state"
)

// Usage is what the objects of an engine take on disk, by key.
type Usage struct {
	containers map[string]state.ContainerUsage
	images     map[string]state.ImageUsage
	volumes    map[string]state.VolumeUsage
}

// Measure asks the engine what its objects take on disk. The engine walks through its volumes
// for that, which may take long. It ends with ctx.
func Measure(ctx context.Context, e Engine) (Usage, error) {
	moby, ok := e.(*Moby)
	if !ok {
		return Usage{}, errors.New("the engine can't tell what its objects take on disk")
	}
	now := time.Now().UTC()
	df, err := moby.DiskUsage(ctx, client.DiskUsageOptions{Containers: true, Images: true, Volumes: true, Verbose: true})
	if err != nil {
		return Usage{}, fmt.Errorf("ask the engine for sizes: %w", endpoint.WithoutURL(err))
	}
	u := Usage{map[string]state.ContainerUsage{}, map[string]state.ImageUsage{}, map[string]state.VolumeUsage{}}
	for _, c := range df.Containers.Items {
		u.containers[c.ID] = state.ContainerUsage{SizeRw: c.SizeRw, SizeRootFs: c.SizeRootFs, MeasuredAt: now}
	}
	for _, i := range df.Images.Items {
		if i.SharedSize >= 0 { // -1: not known
			u.images[i.ID] = state.ImageUsage{SharedSize: i.SharedSize, MeasuredAt: now}
		}
	}
	for _, v := range df.Volumes.Items {
		if v.UsageData != nil && v.UsageData.Size >= 0 {
			u.volumes[v.Name] = state.VolumeUsage{Size: v.UsageData.Size, MeasuredAt: now}
		}
	}
	return u, nil
}

// SetUsage records what objects take on disk, where they are there.
func (s *Store) SetUsage(u Usage) {
	for id, usage := range u.containers {
		s.edited(s.containers.edit(id, s.next(), func(c *state.Container) { c.Usage = &usage }))
	}
	for id, usage := range u.images {
		s.edited(s.images.edit(id, s.next(), func(i *state.Image) { i.Usage = &usage }))
	}
	for name, usage := range u.volumes {
		s.edited(s.volumes.edit(name, s.next(), func(v *state.Volume) { v.Usage = &usage }))
	}
}

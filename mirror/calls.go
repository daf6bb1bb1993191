package mirror

import (
	"context"
	"fmt"
	"reflect"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/image"
	"github.com/moby/moby/client"

	"github.com/docker-rd/docker-rd/mirror/state"
)

// list lists a kind.
func (s *Source) list(ctx context.Context, cli *client.Client, kind state.Kind) listResult {
	ctx, cancel := context.WithTimeout(ctx, s.opts.ListTimeout)
	defer cancel()
	r := listResult{kind: kind}
	ns := s.opts.Namespace
	switch kind {
	case state.Containers:
		var l client.ContainerListResult
		l, r.err = cli.ContainerList(ctx, client.ContainerListOptions{All: true})
		for _, c := range l.Items {
			r.objects = append(r.objects, listedContainer(c, ns))
		}
	case state.Images:
		// All: an untagged image with children is there too, and events speak of it.
		var l client.ImageListResult
		l, r.err = cli.ImageList(ctx, client.ImageListOptions{All: true})
		r.images = l.Items
	case state.Volumes:
		var l client.VolumeListResult
		l, r.err = cli.VolumeList(ctx, client.VolumeListOptions{})
		for _, v := range l.Items {
			r.objects = append(r.objects, convertVolume(v, ns))
		}
	case state.Networks:
		var l client.NetworkListResult
		if l, r.err = cli.NetworkList(ctx, client.NetworkListOptions{}); r.err != nil && ctx.Err() == nil {
			if items, err := listNetworks(ctx, cli); err == nil {
				l.Items, r.err = items, nil
			}
		}
		for _, n := range l.Items {
			r.objects = append(r.objects, convertNetwork(n.Network, ns))
		}
	default:
		r.err = fmt.Errorf("the engine does not list %q", kind)
	}
	return r
}

// lookup inspects an object. One that is not there is a result, not an error.
func (s *Source) lookup(ctx context.Context, cli *client.Client, k key) lookupResult {
	ctx, cancel := context.WithTimeout(ctx, s.opts.InspectTimeout)
	defer cancel()
	r := lookupResult{key: k}
	ns := s.opts.Namespace
	switch k.kind {
	case state.Containers:
		var c client.ContainerInspectResult
		if c, r.err = cli.ContainerInspect(ctx, k.id, client.ContainerInspectOptions{}); r.err == nil {
			r.object = inspectedContainer(c.Container, ns)
		}
	case state.Images:
		var i client.ImageInspectResult
		if i, r.err = cli.ImageInspect(ctx, k.id); r.err == nil {
			r.image = inspectedImage(i.InspectResponse)
		}
	case state.Volumes:
		var v client.VolumeInspectResult
		if v, r.err = cli.VolumeInspect(ctx, k.id, client.VolumeInspectOptions{}); r.err == nil {
			r.object = convertVolume(v.Volume, ns)
		}
	case state.Networks:
		var n client.NetworkInspectResult
		if n, r.err = cli.NetworkInspect(ctx, k.id, client.NetworkInspectOptions{}); r.err == nil {
			r.object = convertNetwork(n.Network.Network, ns)
		}
	default:
		r.err = fmt.Errorf("the engine does not inspect %q", k.kind)
	}
	if cerrdefs.IsNotFound(r.err) {
		r.err = nil
	}
	return r
}

// knowImages turns a list of images into objects, with the details of those that
// are known and have not changed, and returns the others.
func (s *Source) knowImages(list []image.Summary) (objects []any, unknown []key) {
	known := make(map[string]*knownImage, len(list))
	for _, i := range list {
		k := &knownImage{listed: listedImage(i, s.opts.Namespace)}
		if old := s.images[i.ID]; old != nil && old.details != nil && sameContent(old.listed, k.listed) {
			k.details = old.details
		} else {
			unknown = append(unknown, key{state.Images, i.ID})
		}
		known[i.ID] = k
		objects = append(objects, k.object())
	}
	s.images = known
	return objects, unknown
}

// sameContent tells whether the lists agree on all but the names, which do not
// change what an inspection tells.
func sameContent(a, b state.Image) bool {
	return a.Size == b.Size && a.CreatedAt.Equal(b.CreatedAt) && reflect.DeepEqual(a.Labels, b.Labels)
}

func (k *knownImage) object() state.Image {
	object := k.listed
	if k.details != nil {
		k.details.apply(&object)
	}
	return object
}

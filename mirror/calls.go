package mirror

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"reflect"
	"slices"
	"sync"

	cerrdefs "github.com/containerd/errdefs"

	"github.com/docker-rd/docker-rd/internal/endpoint"
	"github.com/docker-rd/docker-rd/internal/jsonscan"
	"github.com/docker-rd/docker-rd/mirror/state"
)

// list lists a kind.
func (s *Source) list(ctx context.Context, cli *endpoint.Client, kind state.Kind) listResult {
	ctx, cancel := context.WithTimeout(ctx, s.opts.ListTimeout)
	defer cancel()
	r := listResult{kind: kind}
	all := url.Values{"all": {"1"}}
	switch kind {
	case state.Containers:
		r.err = get(ctx, cli, "/containers/json", all, func(sc *scanner) {
			sc.Array(func() { r.add(s.object(readListedContainer(sc))) })
		})
	case state.Images:
		// All: an untagged image with children is there too, and events speak of it.
		r.err = get(ctx, cli, "/images/json", all, func(sc *scanner) {
			sc.Array(func() { r.add(s.object(readListedImage(sc))) })
		})
	case state.Volumes:
		r.err = get(ctx, cli, "/volumes", nil, func(sc *scanner) {
			sc.Object(func(name string) {
				if name == "Volumes" {
					sc.Array(func() { r.add(s.object(readVolume(sc))) })
				} else {
					sc.Skip()
				}
			})
		})
	case state.Networks:
		r.err = get(ctx, cli, "/networks", nil, func(sc *scanner) {
			sc.Array(func() { r.add(s.object(readNetwork(sc))) })
		})
	default:
		r.err = fmt.Errorf("the engine does not list %q", kind)
	}
	return r
}

// add adds an object. One without an identity is none.
func (r *listResult) add(key string, object any) {
	if key != "" {
		r.objects = append(r.objects, object)
	}
}

// object completes what was read of an object, and returns its key.
func (s *Source) object(o any) (key string, object any) {
	switch o := o.(type) {
	case state.Container:
		o.Namespace = s.opts.Namespace
		return o.ID, o
	case state.Image:
		o.Namespace = s.opts.Namespace
		return o.ID, o
	case state.Volume:
		o.Namespace = s.opts.Namespace
		return o.Name, o
	case state.Network:
		o.Namespace = s.opts.Namespace
		return o.ID, o
	}
	return "", o
}

// lookup inspects an object. One that is not there is a result, not an error.
func (s *Source) lookup(ctx context.Context, cli *endpoint.Client, k key) lookupResult {
	ctx, cancel := context.WithTimeout(ctx, s.opts.InspectTimeout)
	defer cancel()
	r := lookupResult{key: k}
	key := "?"
	switch k.kind {
	case state.Containers:
		r.err = get(ctx, cli, "/containers/"+k.id+"/json", nil, func(sc *scanner) { key, r.object = s.object(readContainer(sc)) })
	case state.Images:
		r.err = get(ctx, cli, "/images/"+k.id+"/json", nil, func(sc *scanner) { r.image = readImageDetails(sc) })
	case state.Volumes:
		r.err = get(ctx, cli, "/volumes/"+k.id, nil, func(sc *scanner) { key, r.object = s.object(readVolume(sc)) })
	default:
		r.err = fmt.Errorf("the engine does not inspect %q", k.kind)
	}
	if r.err == nil && key == "" {
		r.err = errors.New("the engine answers with an object that has no identity")
	}
	if r.err != nil {
		r.object, r.image = nil, nil
	}
	if cerrdefs.IsNotFound(r.err) {
		r.err = nil
	}
	return r
}

// answers are buffers for whole answers. Nothing that was read shares their memory.
var answers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// get asks the engine for a resource and has the answer read.
func get(ctx context.Context, cli *endpoint.Client, path string, query url.Values, read func(*scanner)) error {
	resp, err := cli.Get(ctx, path, query)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	buffer := answers.Get().(*bytes.Buffer)
	defer answers.Put(buffer)
	buffer.Reset()
	if _, err := buffer.ReadFrom(resp.Body); err != nil {
		return fmt.Errorf("read the answer for %s: %w", path, err)
	}
	s := jsonscan.New(buffer.Bytes())
	read(s)
	if err := s.Err(); err != nil {
		return fmt.Errorf("read the answer for %s: %w", path, err)
	}
	return nil
}

// knowImages adds to a list of images the details of those that are known and have not
// changed, and returns the others.
func (s *Source) knowImages(list []any) (objects []any, unknown []key) {
	known := make(map[string]*knownImage, len(list))
	images := make([]*knownImage, 0, len(list))
	for _, o := range list {
		i := o.(state.Image)
		if k := known[i.ID]; k != nil {
			k.listed = united(k.listed, i)
			continue
		}
		k := &knownImage{listed: i}
		known[i.ID] = k
		images = append(images, k)
	}
	for _, k := range images {
		id := k.listed.ID
		if old := s.images[id]; old != nil && old.details != nil && sameContent(old.listed, k.listed) {
			k.details = old.details
		} else {
			unknown = append(unknown, key{state.Images, id})
		}
		objects = append(objects, k.object())
	}
	s.images = known
	return objects, unknown
}

// united returns what two entries of a list say of one image. Before moby 27, engines that
// keep images in containerd have one for each platform, in no order.
func united(a, b state.Image) state.Image {
	if b.Size > a.Size {
		a, b = b, a
	}
	union := func(a, b []string) []string {
		all := slices.Concat(a, b)
		slices.Sort(all)
		return slices.Compact(all)
	}
	a.RepoTags, a.RepoDigests = union(a.RepoTags, b.RepoTags), union(a.RepoDigests, b.RepoDigests)
	return a
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

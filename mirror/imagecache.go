package mirror

import (
	"slices"
	"time"

	"github.com/docker-rd/docker-rd/mirror/state"
)

// An imageCache remembers what inspections said of images. That stays true as long as the
// list says the same of them, and there are more images than anything else.
type imageCache struct {
	details map[string]imageDetails
	pending map[string]state.Image // as listed, waiting for details
}

type imageDetails struct {
	size      int64 // as listed
	createdAt time.Time
	inspectedImage
}

func newImageCache() *imageCache {
	return &imageCache{details: map[string]imageDetails{}, pending: map[string]state.Image{}}
}

// know takes over a list of all images. It returns those whose details are known, with them,
// and the others.
func (c *imageCache) know(list []any) (whole []any, rest []state.Image) {
	listed := map[string]state.Image{}
	var order []string
	for _, o := range list {
		i := o.(state.Image)
		if other, ok := listed[i.ID]; ok {
			i = united(other, i)
		} else {
			order = append(order, i.ID)
		}
		listed[i.ID] = i
	}
	known := c.details
	c.details, c.pending = map[string]imageDetails{}, map[string]state.Image{}
	for _, id := range order {
		i := listed[id]
		d, ok := known[id]
		if ok && d.size == i.Size && d.createdAt.Equal(i.CreatedAt) {
			c.details[id] = d
			d.complete(&i)
			whole = append(whole, i)
		} else {
			c.pending[id] = i
			rest = append(rest, i)
		}
	}
	return whole, rest
}

// complete takes over what an inspection told, and returns the image with it. Where that has
// failed, it is as it was listed, which is better than nothing.
func (c *imageCache) complete(id string, object any, err error) (i state.Image, ok bool) {
	i, ok = c.pending[id]
	if !ok || err != nil {
		return i, ok
	}
	delete(c.pending, id)
	a, ok := object.(inspectedImage)
	if !ok {
		return i, false // whether it is there, the list says
	}
	c.details[id] = imageDetails{size: i.Size, createdAt: i.CreatedAt, inspectedImage: a}
	a.complete(&i)
	return i, true
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

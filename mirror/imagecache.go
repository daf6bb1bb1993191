package mirror

import (
	"slices"
	"time"

	"github.com/docker-rd/docker-rd/mirror/state"
)

// An imageCache remembers the inspections of images, which are valid while the list says the
// same of an image. There are more images than anything else.
type imageCache struct {
	details map[string]imageDetails
	pending map[string]state.Image // as listed, waiting for details
	listed  map[string]bool        // by the last list, nil before the first
	missed  map[string]bool        // what lists have lacked
}

type imageDetails struct {
	size      int64 // as listed
	createdAt time.Time
	inspectedImage
}

func newImageCache() *imageCache {
	return &imageCache{details: map[string]imageDetails{}, pending: map[string]state.Image{}, missed: map[string]bool{}}
}

// know takes in a list of all images. It returns those whose details are known, completed, and
// the rest with their ids.
func (c *imageCache) know(list []any) (whole, rest []any, ids []string) {
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
	c.listed = map[string]bool{}
	known := c.details
	c.details, c.pending = map[string]imageDetails{}, map[string]state.Image{}
	for _, id := range order {
		i := listed[id]
		c.listed[id] = true
		delete(c.missed, id)
		d, ok := known[id]
		if ok && d.size == i.Size && d.createdAt.Equal(i.CreatedAt) {
			c.details[id] = d
			d.complete(&i)
			whole = append(whole, i)
		} else {
			c.pending[id] = i
			rest, ids = append(rest, i), append(ids, id)
		}
	}
	return whole, rest, ids
}

// lacks reports whether the last list lacked a container's image, once for each: dockerd before
// version 24 tells nobody of a build by buildx.
func (c *imageCache) lacks(id string) bool {
	if c.listed == nil || c.listed[id] || c.missed[id] || id == "" {
		return false
	}
	c.missed[id] = true
	return true
}

// complete takes in an inspection and returns the completed image. After an error it is the
// image as listed.
func (c *imageCache) complete(id string, object any, err error) (i state.Image, ok bool) {
	i, ok = c.pending[id]
	if !ok || err != nil {
		return i, ok
	}
	delete(c.pending, id)
	a, ok := object.(inspectedImage)
	if !ok {
		return i, false // the list shows whether it exists
	}
	if !a.partial {
		c.details[id] = imageDetails{size: i.Size, createdAt: i.CreatedAt, inspectedImage: a}
	}
	a.complete(&i)
	return i, true
}

// united merges two entries for one image. Before moby 27, lists of containerd's image store
// have one for each platform, in no order.
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

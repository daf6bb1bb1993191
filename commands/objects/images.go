package objects

import (
	"cmp"
	"errors"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/distribution/reference"

	"github.com/docker-rd/docker-rd/commands/output"
	"github.com/docker-rd/docker-rd/mirror/state"
)

type imageRow struct {
	follows
	Containers   string
	CreatedAt    string
	CreatedSince string
	Digest       string
	ID           string
	Repository   string
	SharedSize   string
	Size         string
	Tag          string
	UniqueSize   string

	image *state.Image
}

// What docker's lists do not tell.

// Platform returns what the image is for.
func (r *imageRow) Platform() string {
	return path.Join(r.image.OS, r.image.Architecture, r.image.Variant)
}

// Layers returns how many layers the image has.
func (r *imageRow) Layers() int { return r.image.LayerCount }

// ExposedPorts and Volumes return what a container of the image gets.
func (r *imageRow) ExposedPorts() string { return strings.Join(r.image.ExposedPorts, ", ") }
func (r *imageRow) Volumes() string      { return strings.Join(r.image.Volumes, ",") }

func (r *imageRow) part() string { return r.Repository + ":" + r.Tag + "@" + r.Digest }

// VirtualSize is the size, a placeholder of docker before 29.
func (r *imageRow) VirtualSize() string { return r.Size }

// Images returns the kind of images.
func Images() *Kind {
	return &Kind{
		Kind: state.Images, singular: "image", Aliases: []string{"img"},
		layout:  output.Layout{Table: "{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{if .CreatedSince}}{{.CreatedSince}}{{else}}N/A{{end}}\t{{.Size}}", Key: "{{.ID}}", Titles: map[string]string{"ID": "IMAGE ID", "CreatedSince": "CREATED", "VirtualSize": "SIZE"}},
		empty:   &imageRow{image: &state.Image{}},
		Filters: []string{"before", "dangling", "label", "reference", "since", "until"},

		newestFirst: true,
		entries: func(s *state.State) (all []entry) {
			for id, i := range s.Images {
				names := i.RepoTags
				if len(names) == 0 {
					names = []string{ShortID(id)}
				}
				all = append(all, entry{id, names, i.CreatedAt, "", i.Labels})
			}
			return all
		},
		about: func(s *state.State, key string) []string { return []string{humanSize(s.Images[key].Size)} },
		match: matchImages,
		rows: func(v *view, key string) []row {
			i := v.Images[key]
			return v.imageRows(&i)
		},
		find: func(s *state.State, word string) []string {
			found, _ := findImages(s, imageNames(s), word)
			return found
		},
	}
}

// withoutIntermediate removes the images that only others were made from.
func (v *view) withoutIntermediate(keys []string) []string {
	parents := v.parents()
	return slices.DeleteFunc(keys, func(key string) bool {
		i := v.Images[key]
		return parents[key] && len(i.RepoTags)+len(i.RepoDigests) == 0
	})
}

func (v *view) parents() map[string]bool {
	parents := map[string]bool{}
	for _, i := range v.Images {
		if i.Parent != "" {
			parents[i.Parent] = true
		}
	}
	return parents
}

func containersByImage(s *state.State) map[string]int64 {
	users := map[string]int64{}
	for _, c := range s.Containers {
		users[c.Image]++
	}
	return users
}

const none = "<none>"

// imageRows returns a row for each tag, or for each tag and digest if digests are shown, and for
// each repository without a tag.
func (v *view) imageRows(i *state.Image) []row {
	var rows []row
	shown := map[string]bool{} // repositories that have a row
	add := func(repo, tag, digest, ref string) {
		if v.shows == nil || v.shows(i.ID, ref) {
			r := v.imageRow(i, ref)
			r.Repository, r.Tag, r.Digest = repo, tag, digest
			rows = append(rows, r)
			shown[repo] = true
		}
	}
	if len(i.RepoTags)+len(i.RepoDigests) == 0 {
		add(none, none, none, i.ID)
		return rows
	}
	digests := map[string][]string{} // by repository
	for _, ref := range i.RepoDigests {
		repo, digest, _ := strings.Cut(ref, "@")
		repo = familiar(repo)
		digests[repo] = append(digests[repo], digest)
	}
	for _, ref := range i.RepoTags {
		colon := strings.LastIndex(ref, ":")
		if colon < 0 {
			continue
		}
		repo, tag := familiar(ref[:colon]), ref[colon+1:]
		if !v.digest || len(digests[repo]) == 0 {
			add(repo, tag, none, ref)
			continue
		}
		for _, d := range digests[repo] {
			add(repo, tag, d, ref)
		}
	}
	for _, ref := range i.RepoDigests {
		repo, _, _ := strings.Cut(ref, "@")
		if repo = familiar(repo); !shown[repo] {
			add(repo, none, "", ref)
		}
	}
	return rows
}

// imageRow returns a row of an image for one of its references, without the parts of that.
func (v *view) imageRow(i *state.Image, ref string) *imageRow {
	r := &imageRow{
		Containers:   strconv.FormatInt(v.users()[i.ID], 10),
		CreatedAt:    second(i.CreatedAt),
		CreatedSince: v.since(i.CreatedAt),
		ID:           v.id(i.ID),
		SharedSize:   notAvailable,
		Size:         humanSize(i.Size),
		UniqueSize:   notAvailable,
		image:        i,
	}
	if i.Usage != nil {
		r.SharedSize = humanSize(i.Usage.SharedSize)
		r.UniqueSize = humanSize(i.Size - i.Usage.SharedSize)
	}
	for _, key := range []string{ref, i.ID} {
		if d, ok := i.Deletions[key]; ok {
			r.Deletion = describeDeletion(&d)
			break
		}
	}
	return r
}

// familiar is a repository as docker shows it. Only names with a registry can differ.
func familiar(repo string) string {
	if !strings.HasPrefix(repo, "docker.io/") && !strings.HasPrefix(repo, "index.docker.io/") {
		return repo
	}
	named, err := reference.ParseNormalizedNamed(repo)
	if err != nil {
		return repo
	}
	return reference.FamiliarName(named)
}

// matchImages compiles the filters of moby's daemon/images/image_list.go. imageRows applies the
// reference filter to rows.
func matchImages(v *view, f filterSet) (func(key string) bool, error) {
	dangling, wanted, err := f.bool("dangling")
	if err != nil {
		return nil, err
	}
	created, err := f.period(v.now, func(ref string) (time.Time, error) {
		id := v.resolve(ref)
		if id == "" {
			return time.Time{}, errors.New("no such image")
		}
		return v.Images[id].CreatedAt, nil
	})
	err = cmp.Or(err, f.each("reference", func(value string) error {
		_, err := path.Match(value, "")
		return err
	}))
	parents := v.parents()
	return func(key string) bool {
		i := v.Images[key]
		named := len(i.RepoTags)+len(i.RepoDigests) > 0
		switch {
		case !f.labels(i.Labels),
			!created.has(i.CreatedAt),
			wanted && dangling && (len(i.RepoTags) > 0 || parents[key]),
			wanted && !dangling && !named:
			return false
		}
		return !f.has("reference") || slices.ContainsFunc(slices.Concat(i.RepoTags, i.RepoDigests), f.refersTo)
	}, err
}

// refersTo reports whether a form of a reference matches a pattern of the filter "reference".
func (f filterSet) refersTo(ref string) bool {
	named, err := reference.ParseNormalizedNamed(ref)
	if err != nil {
		return !f.has("reference")
	}
	forms := []string{
		reference.FamiliarString(named), reference.FamiliarName(named), reference.TagNameOnly(named).String(), named.Name(),
	}
	return f.anyOf("reference", func(pattern string) bool {
		return slices.ContainsFunc(forms, func(form string) bool {
			ok, err := path.Match(pattern, form)
			return err == nil && ok
		})
	})
}

// resolve returns the image that a reference names as the engine resolves it: by name, digest,
// or an unambiguous prefix of the id; "" if there is none.
func (v *view) resolve(ref string) string {
	id, ok := v.known[ref]
	if !ok {
		if found, _ := findImages(v.State, v.names(), ref); len(found) == 1 {
			id = found[0]
		}
		v.known[ref] = id
	}
	return id
}

// imageNames returns the images by their tags and digests. Each namespace has its own; with its
// name before it, a reference means only one.
func imageNames(s *state.State) map[string][]string {
	names := make(map[string][]string, len(s.Images))
	for id, i := range s.Images {
		namespace, _ := splitKey(id)
		for _, name := range slices.Concat(i.RepoTags, i.RepoDigests) {
			names[name] = append(names[name], id)
			if namespace != "" {
				names[namespace+"/"+name] = append(names[namespace+"/"+name], id)
			}
		}
	}
	return names
}

// findImages returns the images that a reference names, and the form of it that they are listed by, ""
// if it is an id.
func findImages(s *state.State, names map[string][]string, ref string) (ids []string, form string) {
	if ids, ok := names[ref]; ok { // which spares most references their parsing
		return ids, ref
	}
	for _, form := range otherForms(ref) {
		if ids, ok := names[form]; ok {
			return ids, form
		}
	}
	if id := imageByDigest(s, ref); id != "" {
		return []string{id}, ref
	}
	return byID(s.Images, ref), ""
}

// imageByDigest returns the image in containerd, where the id is the digest, that has a name in
// the reference's repository; "" if there is none. The engine resolves it like that, but lists
// the digest in only one of the image's repositories.
func imageByDigest(s *state.State, ref string) string {
	_, id, ok := strings.Cut(ref, "@")
	i := s.Images[id]
	if !ok || !slices.ContainsFunc(i.RepoDigests, func(d string) bool { return strings.HasSuffix(d, "@"+id) }) {
		return ""
	}
	named, err := reference.ParseNormalizedNamed(ref)
	if err != nil || !slices.ContainsFunc(i.RepoTags, func(tag string) bool {
		other, err := reference.ParseNormalizedNamed(tag)
		return err == nil && other.Name() == named.Name()
	}) {
		return ""
	}
	return id
}

// otherForms returns the other forms in which engines may list a reference: docker omits its own
// registry, podman and containerd never do. The name of a namespace may be before it.
func otherForms(ref string) []string {
	forms := normalForms(ref)
	if namespace, rest := splitKey(ref); namespace != "" {
		for _, form := range normalForms(rest) {
			forms = append(forms, namespace+"/"+form)
		}
	}
	return forms
}

func normalForms(ref string) []string {
	named, err := reference.ParseNormalizedNamed(ref)
	if err != nil {
		return nil
	}
	named = reference.TagNameOnly(named)
	return []string{reference.FamiliarString(named), named.String()}
}

// ImageReference returns the image that a word names, and the word as a reference, "" if it is
// an id.
func ImageReference(s *state.State, word string) (id, ref string) {
	ids, form := findImages(s, imageNames(s), word)
	if len(ids) != 1 {
		return "", ""
	}
	namespace, _ := splitKey(ids[0])
	if i := s.Images[ids[0]]; namespace != "" && !slices.Contains(slices.Concat(i.RepoTags, i.RepoDigests), form) {
		form = strings.TrimPrefix(form, namespace+"/")
	}
	return ids[0], form
}

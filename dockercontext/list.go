package dockercontext

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/docker/cli/cli/context/docker"
	"github.com/fvbommel/sortorder"

	"github.com/docker-rd/docker-rd/internal/files"
)

type entry struct {
	// Name is the context's name, "" where damage hides it.
	Name string
	// Path is its metadata file.
	Path string
	// Err says why the metadata can't be used, if so.
	Err error
}

// list returns the stored contexts in docker's order, without "default", damaged ones last. It
// reads them one by one: the store's List fails at a damaged context, and is empty while others
// make or remove contexts.
func (c *Config) list() ([]entry, error) {
	root := filepath.Join(c.o.Dir, "contexts", "meta")
	dirs, err := os.ReadDir(root)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list contexts: %w", err)
	}
	var entries []entry
	for _, dir := range dirs {
		if !dir.IsDir() {
			continue
		}
		e := entry{Path: filepath.Join(root, dir.Name(), "meta.json")}
		data, err := files.Read(e.Path)
		if errors.Is(err, os.ErrNotExist) {
			continue // half made or half removed
		}
		if err != nil {
			e.Err = err
		} else {
			e.Name, e.Err = checkMetadata(data)
		}
		if e.Name == "" && e.Err != nil {
			e.Name = c.guessName(dir.Name())
		}
		switch {
		case e.Err != nil:
		case e.Name == "":
			e.Err = errNameless
		case c.contextID(e.Name) != dir.Name():
			e.Err = fmt.Errorf("%w: %q", errMisplaced, e.Name)
			e.Name = ""
		}
		entries = append(entries, e)
	}
	slices.SortStableFunc(entries, func(a, b entry) int {
		switch {
		case (a.Name == "") != (b.Name == ""):
			if a.Name == "" {
				return 1
			}
			return -1
		default:
			return sortorder.NaturalCompare(a.Name, b.Name)
		}
	})
	return entries, nil
}

// checkMetadata returns the context's name, and an error if docker can't decode the metadata.
func checkMetadata(data []byte) (string, error) {
	var meta struct {
		Name      string
		Metadata  map[string]any
		Endpoints map[string]json.RawMessage
	}
	if err := json.Unmarshal(data, &meta); err != nil {
		return meta.Name, fmt.Errorf("invalid metadata: %w", err)
	}
	if d, ok := meta.Metadata["Description"]; ok {
		if _, ok := d.(string); !ok {
			return meta.Name, errDescription
		}
	}
	for name, data := range meta.Endpoints {
		var value any = &map[string]any{}
		if name == docker.DockerEndpoint {
			value = &docker.EndpointMeta{}
		}
		if err := json.Unmarshal(data, value); err != nil {
			return meta.Name, fmt.Errorf("invalid metadata: endpoint %q: %w", name, err)
		}
	}
	return meta.Name, nil
}

// errMisplaced says that docker lists the context by a name, but can't find it by that.
var errMisplaced = errors.New("the metadata is stored under another name than it gives the context")

// errNameless says that the metadata gives the context no name.
var errNameless = errors.New("the metadata gives the context no name")

// errDescription is what makes docker's own decoder panic.
var errDescription = errors.New("invalid metadata: Description is not a string")

// contextID is the name of a context's directory in the store.
func (c *Config) contextID(name string) string {
	return filepath.Base(c.store.GetStorageInfo(name).MetadataPath)
}

// WatchDirs returns the directories that change with the current context or with owner's: the
// configuration's, and those below it that exist. The store makes a context in two steps, a directory and
// the file in it, so both are included.
func (c *Config) WatchDirs(owner Owner) []string {
	contexts := filepath.Join(c.o.Dir, "contexts")
	meta := filepath.Join(contexts, "meta")
	below := slices.DeleteFunc([]string{contexts, meta, filepath.Join(meta, c.contextID(owner.Context))}, func(dir string) bool {
		info, err := os.Stat(dir)
		return err != nil || !info.IsDir()
	})
	return append(below, c.o.Dir)
}

// guessName finds the name of an ID among those that the configuration mentions.
func (c *Config) guessName(id string) string {
	var names []string
	if current, err := c.Current(); err == nil {
		names = append(names, current)
	}
	if r, err := c.readRecord(); err == nil {
		names = append(names, r.Previous)
		for _, o := range slices.Concat(r.Promoted, r.Demoted) {
			names = append(names, o.Context)
		}
	}
	names = append(names, c.o.Getenv(contextEnv), "rd", "desktop-linux", "rootless", "colima")
	for _, n := range names {
		if n != "" && c.contextID(n) == id {
			return n
		}
	}
	return ""
}

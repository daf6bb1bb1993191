package dockercontext

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/docker/cli/cli/context/store"

	"github.com/docker-rd/docker-rd/dockercontext/configfile"
	"github.com/docker-rd/docker-rd/internal/files"
	"github.com/docker-rd/docker-rd/mirror/state"
)

// fixMissing replaces a current context that does not exist.
func (c *Config) fixMissing(ctx context.Context, name string) (Outcome, error) {
	if c.exists(name) {
		return Outcome{Message: fmt.Sprintf("Context %q exists again.", name)}, nil
	}
	if out := c.Repair(ctx); out.Err != nil || out.Reason == state.ReasonDemoted {
		return out, out.Err
	}
	return c.unset(ctx, name)
}

// unset unsets the current context, if it is still name.
func (c *Config) unset(ctx context.Context, name string) (Outcome, error) {
	return c.update(ctx, func(t *tx) (Outcome, error) {
		if t.stored.Name == name {
			changed, err := t.setCurrent(configfile.Value{})
			if changed || err != nil {
				return Outcome{Message: "No current context is set any more: docker uses \"default\".", Changed: changed}, err
			}
		}
		return Outcome{Message: "The current context was changed meanwhile and stays."}, nil
	})
}

// fixFile calls edit after it has copied config.json, and removes the copy if nothing was changed.
func (c *Config) fixFile(edit func() (Outcome, error)) (Fixed, error) {
	saved, err := backup(c.file())
	if err != nil {
		return Fixed{}, err
	}
	out, err := edit()
	if err == nil && !out.Changed {
		_ = os.Remove(saved)
		saved = ""
	}
	return Fixed{out.Message, saved}, err
}

// moveAside renames a damaged file, if check still fails.
func (c *Config) moveAside(ctx context.Context, path string, check func() error) (fixed Fixed, err error) {
	_, err = c.locked(ctx, func(*tx) (Outcome, error) {
		if err := check(); err == nil || errors.Is(err, os.ErrNotExist) {
			fixed = Fixed{Message: fmt.Sprintf("%s is in order again.", path)}
			return Outcome{}, nil
		}
		// Renamed, not copied: root would read through a user's link.
		to, err := writeNew(path, nil, 0o600, nil)
		if err != nil {
			return Outcome{}, err
		}
		if err := os.Rename(path, to); err != nil {
			return Outcome{}, errors.Join(err, os.Remove(to))
		}
		fixed = Fixed{fmt.Sprintf("%s is moved aside.", path), to}
		return Outcome{}, nil
	})
	return fixed, err
}

func checkMetadataFile(path string) error {
	data, err := files.Read(path)
	if err == nil {
		_, err = checkMetadata(data)
	}
	return err
}

func (c *Config) removeOrphan(ctx context.Context, e entry, owner Owner) (Fixed, error) {
	archive := store.Export(e.Name, c.store)
	defer archive.Close()
	data, err := io.ReadAll(archive)
	if err != nil {
		return Fixed{}, err
	}
	info, err := os.Lstat(e.Path)
	if err != nil {
		return Fixed{}, err
	}
	// Beside the store, which lists all its files, and named as docker does.
	saved, err := writeNew(filepath.Join(c.o.Dir, "contexts", e.Name+".dockercontext"), data, 0o600, info)
	if err != nil {
		return Fixed{}, err
	}
	if out := c.Repair(ctx); out.Err != nil {
		return Fixed{Backup: saved}, out.Err
	}
	out := c.Remove(ctx, owner)
	if out.Err == nil && out.Reason != state.ReasonRemoved {
		return Fixed{Backup: saved}, fmt.Errorf("context %q stays: it is the current one, or not docker rd's any more", e.Name)
	}
	return Fixed{out.Message, saved}, out.Err
}

// backup copies a file beside itself and returns the copy's path.
func backup(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("backup: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", fmt.Errorf("backup: %w", err)
	}
	data, err := io.ReadAll(f)
	if err != nil {
		return "", fmt.Errorf("backup: %w", err)
	}
	return writeNew(path, data, info.Mode().Perm(), info)
}

// writeNew writes data into a new file, named after path and the time. Root gives it to the owner
// in like, if that is not nil.
func writeNew(path string, data []byte, mode os.FileMode, like os.FileInfo) (string, error) {
	base := path + ".bak-" + time.Now().UTC().Format("20060102T150405Z")
	for i := 0; ; i++ {
		name := base
		if i > 0 {
			name = fmt.Sprintf("%s-%d", base, i)
		}
		f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
		if errors.Is(err, os.ErrExist) {
			continue
		}
		if err != nil {
			return "", fmt.Errorf("backup: %w", err)
		}
		_, err = f.Write(data)
		if err == nil && like != nil {
			err = giveLike(f, like)
		}
		if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
			_ = os.Remove(name)
			return "", fmt.Errorf("backup: %w", err)
		}
		return name, nil
	}
}

package requests

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/docker-rd/docker-rd/internal/dirwatch"
	"github.com/docker-rd/docker-rd/internal/files"
)

// Follow calls accept with each request in the directory, each once and the oldest first, until ctx
// ends, whose error it returns. It begins with the requests that exist already.
func Follow(ctx context.Context, dir string, log *slog.Logger, accept func(Request)) error {
	// It can be watched then. If it can't be made, or somebody removes it, Submit makes it.
	if err := os.MkdirAll(dir, 0o700); err != nil {
		log.Warn("requests have no directory yet", "error", err)
	}
	w := dirwatch.Follow(dir, pollInterval, func(cause error) {
		log.Warn("requests can't be watched and are looked for instead", "dir", dir, "error", cause)
	})
	defer w.Close()
	brought := map[string]bool{}
	logged := ""
	for {
		found, there, err := scan(dir, brought, log)
		if err != nil {
			maps.Copy(there, brought) // they may be there still
			if logged != err.Error() {
				logged = err.Error()
				log.Error("requests can't be read, and are looked at again", "error", err)
			}
		}
		for _, r := range found {
			accept(r)
		}
		brought = there
		if err != nil {
			err = waitOrLook(ctx, w)
		} else {
			err = w.Wait(ctx)
		}
		if err != nil {
			return err
		}
	}
}

// waitOrLook waits for a change, or until it is time to look again. The error is ctx's.
func waitOrLook(ctx context.Context, w *dirwatch.Follower) error {
	wait, cancel := context.WithTimeout(ctx, lookAgain)
	defer cancel()
	_ = w.Wait(wait)
	return ctx.Err()
}

// scan reads the requests in the directory that are not known, each once and the oldest first, and
// removes abandoned outcomes. There has the ids of those that were read, and of the known ones. What is
// no request is removed and, if log is not nil, logged. After an error, such as of too many open
// files, some requests may be missing.
func scan(dir string, known map[string]bool, log *slog.Logger) (found []Request, there map[string]bool, err error) {
	there = map[string]bool{}
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, there, err
	}
	var unread []error
	for _, e := range entries {
		if !e.Type().IsRegular() {
			continue // to open a pipe would take until somebody writes to it
		}
		path := filepath.Join(dir, e.Name())
		id, ext := strings.TrimSuffix(e.Name(), filepath.Ext(e.Name())), filepath.Ext(e.Name())
		switch ext {
		case extPending, extBegun:
		case extDone, extTemp, files.TempSuffix:
			if info, err := e.Info(); err == nil && time.Since(info.ModTime()) > abandoned {
				_ = files.Remove(path)
			}
			continue
		default:
			continue
		}
		if known[id] || there[id] { // one that is begun during the scan is found twice
			there[id] = true
			continue
		}
		var r Request
		err := files.ReadJSON(path, &r)
		if errors.Is(err, fs.ErrNotExist) {
			continue // decided, or withdrawn
		}
		if _, ok := errors.AsType[*fs.PathError](err); ok && !errors.Is(err, fs.ErrPermission) {
			unread = append(unread, err)
			continue
		}
		if err == nil && r.ID != id {
			err = fmt.Errorf("its id is %q", r.ID)
		}
		if err != nil {
			if log != nil {
				log.Error("request can't be read and is dropped", "path", path, "error", err)
			}
			_ = files.Remove(path)
			continue
		}
		r.begun = ext == extBegun
		found, there[id] = append(found, r), true
	}
	slices.SortFunc(found, func(a, b Request) int { return cmp.Compare(a.ID, b.ID) })
	return found, there, errors.Join(unread...)
}

// Package claim makes an engine answer at the default sockets, such as /var/run/docker.sock, for
// programs that do not support Docker contexts.
//
// A claim is a symbolic link to the engine's own socket. It is made only if nothing is there or
// nobody listens, provably, and recorded before. It ends when somebody replaces the link, as an
// engine does that starts later: only a link that is still the recorded one is removed.
package claim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/docker-rd/docker-rd/internal/files"
	"github.com/docker-rd/docker-rd/internal/pause"
	"github.com/docker-rd/docker-rd/lock"
)

// proofPause is the time between the two looks that prove that nobody listens: longer than an
// engine takes to replace its socket.
const proofPause = 150 * time.Millisecond

// tempSuffix ends the name of a link before it is in its place.
const tempSuffix = ".docker-rd"

const schemaVersion = 1

// An Owner is an instance, by its uid and the name of its Docker context.
type Owner struct {
	UID     string `json:"uid"`
	Context string `json:"context"`
}

// A Book holds the claims of all instances. The zero Book has none, and makes none.
type Book struct {
	// File is the record, Lock the lock over it and over the sockets. They must outlast a
	// logout.
	File, Lock string
}

type entry struct {
	Owner  Owner  `json:"owner"`
	Path   string `json:"path"`
	Target string `json:"target"`
	// Device and Inode identify the link.
	Device uint64 `json:"device"`
	Inode  uint64 `json:"inode"`
}

type claims struct {
	SchemaVersion int     `json:"schemaVersion"`
	Claims        []entry `json:"claims"`
}

// Why a path is not claimed, to be tested with [errors.Is].
var (
	// ErrInUse says that somebody listens there, or that something else is there.
	ErrInUse = errors.New("in use")
	// ErrNotUp says that the engine is not up any more.
	ErrNotUp = errors.New("the engine is not up any more")
)

// A Result is the result for one path.
type Result struct {
	Path string
	// By is the owner of the path's claim; the zero Owner if there is none.
	By Owner
	// Changed says that this call has made the claim.
	Changed bool
	// Err says why there is no claim: ErrInUse, ErrNotUp, or the system's error.
	Err error
}

// Make claims the paths for the owner's engine, which listens on the socket target, and returns a
// result for each, in their order. A path that the owner has claimed already is not written.
//
// First, if not nil, is an earlier look: half of the proof that nobody listens, which takes a
// moment otherwise. Up is called under the lock, and reports whether the engine is still up. The
// error is for all paths together. Ctx bounds the wait for the lock.
func (b Book) Make(ctx context.Context, owner Owner, target string, paths []string, first *Look, up func() bool) ([]Result, error) {
	looks := make([]look, len(paths))
	var proven time.Time // with a second look that is not before
	for i, path := range paths {
		var at time.Time
		looks[i], at = first.of(path)
		if due := at.Add(proofPause); looks[i].free() && due.After(proven) {
			proven = due
		}
	}
	if err := pause.For(ctx, time.Until(proven)); err != nil {
		return nil, err
	}
	results := make([]Result, len(paths))
	err := b.update(ctx, func(r *claims) error {
		for i, path := range paths {
			results[i] = b.makeOne(r, entry{Owner: owner, Path: path, Target: target}, looks[i], up)
		}
		return nil
	})
	return results, err
}

// makeOne claims one path. First is the first look at it.
func (b Book) makeOne(r *claims, e entry, first look, up func() bool) Result {
	result := Result{Path: e.Path}
	if by, ok := r.claimant(e.Path); ok {
		result.By = by.Owner
		if by.Owner == e.Owner && by.Target == e.Target {
			return result
		}
		if by.Owner != e.Owner {
			result.Err = ErrInUse
			return result
		}
		first = lookAt(e.Path) // ours, to another socket
	}
	now := lookAt(e.Path)
	switch {
	case !up():
		result.Err = ErrNotUp
	case now.err != nil:
		result.Err = now.err
	case !now.same(first):
		result.Err = ErrInUse // somebody has come meanwhile
	default:
		result.Err = b.place(r, e, now)
	}
	if result.Err == nil {
		result.By, result.Changed = e.Owner, true
	}
	return result
}

// End removes the owner's links, and returns the paths that led to its engine. Links that somebody
// has replaced stay. Ctx bounds the wait for the lock of the claims. After an error some links may
// be removed, others not.
func (b Book) End(ctx context.Context, owner Owner) (ended []string, err error) {
	r, err := b.read()
	if err != nil || !slices.ContainsFunc(r.Claims, func(e entry) bool { return e.Owner == owner }) {
		return nil, err
	}
	err = b.update(ctx, func(r *claims) error {
		var left []entry
		var errs []error
		for _, e := range r.Claims {
			if e.Owner != owner {
				left = append(left, e)
				continue
			}
			there, err := e.remove()
			switch {
			case err != nil:
				errs = append(errs, err)
				left = append(left, e)
			case there:
				ended = append(ended, e.Path)
			}
		}
		r.Claims = left
		return errors.Join(append(errs, b.write(*r))...)
	})
	return ended, err
}

// Find returns the owner of the path's claim, through any links. It changes nothing.
func (b Book) Find(path string) (Owner, bool) {
	r, err := b.read()
	if err != nil || len(r.Claims) == 0 {
		return Owner{}, false
	}
	const maxLinks = 40 // as on Linux
	for range maxLinks {
		if e, ok := r.claimant(path); ok {
			return e.Owner, true
		}
		link, err := os.Readlink(path)
		if err != nil {
			return Owner{}, false
		}
		if !filepath.IsAbs(link) {
			link = filepath.Join(filepath.Dir(path), link)
		}
		path = link
	}
	return Owner{}, false
}

// Owners returns the owners of all claims, in place or not.
func (b Book) Owners() ([]Owner, error) {
	r, err := b.read()
	var owners []Owner
	for _, e := range r.Claims {
		if !slices.Contains(owners, e.Owner) {
			owners = append(owners, e.Owner)
		}
	}
	return owners, err
}

// Holds returns the paths that lead to the owner's engine.
func (b Book) Holds(owner Owner) ([]string, error) {
	r, err := b.read()
	var paths []string
	for _, e := range r.Claims {
		if e.Owner == owner && e.inPlace(e.Path) {
			paths = append(paths, e.Path)
		}
	}
	return paths, err
}

func (r claims) claimant(path string) (entry, bool) {
	i := slices.IndexFunc(r.Claims, func(e entry) bool { return e.inPlace(path) })
	if i < 0 {
		return entry{}, false
	}
	return r.Claims[i], true
}

// inPlace reports whether the claim's link is at path.
func (e entry) inPlace(path string) bool {
	device, inode, err := linkID(path)
	if err != nil || device != e.Device || inode != e.Inode {
		return false
	}
	target, err := os.Readlink(path)
	return err == nil && target == e.Target
}

// place puts the link in its place. Now is the last look at that.
func (b Book) place(r *claims, e entry, now look) (err error) {
	if err := makeParent(e.Path); err != nil {
		return err
	}
	temp := e.Path + tempSuffix
	if err := removeTemp(temp); err != nil {
		return err
	}
	if err := os.Symlink(e.Target, temp); err != nil {
		return err
	}
	if e.Device, e.Inode, err = linkID(temp); err != nil {
		return errors.Join(err, os.Remove(temp))
	}
	before := r.Claims
	r.Claims = append(slices.DeleteFunc(slices.Clone(before), func(x entry) bool { return x.Path == e.Path && x.Owner == e.Owner }), e)
	if err := b.write(*r); err != nil {
		r.Claims = before
		return errors.Join(err, os.Remove(temp))
	}
	fault("recorded")
	if err := e.exchange(temp, now); err != nil {
		if e.inPlace(temp) {
			_ = os.Remove(temp)
		}
		r.Claims = before
		return errors.Join(err, b.write(*r))
	}
	fault("placed")
	return nil
}

// exchange moves the link from temp to its place, if that is as it was seen.
func (e entry) exchange(temp string, now look) error {
	if now.info == nil {
		err := files.RenameNew(temp, e.Path)
		if errors.Is(err, fs.ErrExist) {
			return ErrInUse
		}
		return err
	}
	err := files.Exchange(temp, e.Path)
	if errors.Is(err, files.ErrNoExchange) {
		return os.Rename(temp, e.Path) // a socket made since the look is lost; there is no better way
	}
	if err != nil {
		return err
	}
	displaced := look{}
	displaced.info, displaced.err = os.Lstat(temp)
	if displaced.err == nil && displaced.same(now) && !answers(temp) {
		return os.Remove(temp)
	}
	// An engine has just made its socket.
	return errors.Join(ErrInUse, files.Exchange(temp, e.Path))
}

// remove removes the link, and reports whether it was in place.
func (e entry) remove() (bool, error) {
	temp := e.Path + tempSuffix
	if e.inPlace(temp) { // killed before it was in its place
		_ = os.Remove(temp)
	}
	if !e.inPlace(e.Path) {
		return false, nil
	}
	if err := removeTemp(temp); err != nil {
		return false, err
	}
	// Moved first, then checked: an engine may replace it at any moment.
	if err := files.RenameNew(e.Path, temp); err != nil {
		return false, err
	}
	if e.inPlace(temp) {
		return true, os.Remove(temp)
	}
	err := files.RenameNew(temp, e.Path)
	if errors.Is(err, fs.ErrExist) {
		err = os.Remove(temp) // superseded once more
	}
	return false, err
}

// removeTemp removes what a killed process has left at temp.
func removeTemp(temp string) error {
	info, err := os.Lstat(temp)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil && info.Mode()&(fs.ModeSymlink|fs.ModeSocket) == 0 {
		err = fmt.Errorf("%q is not docker rd's", temp)
	}
	if err == nil {
		err = os.Remove(temp)
	}
	return err
}

// makeParent makes the directory of a socket, but not its parents.
func makeParent(path string) error {
	err := os.Mkdir(filepath.Dir(path), 0o700)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}

// update calls f with the claims, under the lock.
func (b Book) update(ctx context.Context, f func(*claims) error) error {
	return lock.With(ctx, b.Lock, func() error {
		r, err := b.read()
		if err != nil {
			return err
		}
		return f(&r)
	})
}

func (b Book) read() (claims, error) {
	if b.File == "" {
		return claims{}, nil
	}
	data, err := files.Read(b.File)
	if errors.Is(err, fs.ErrNotExist) {
		return claims{}, nil
	}
	if err != nil {
		return claims{}, fmt.Errorf("record of the default sockets: %w", err)
	}
	var r claims
	if json.Unmarshal(data, &r) != nil || r.SchemaVersion != schemaVersion {
		return claims{}, nil // a damaged record holds no claims
	}
	return r, nil
}

func (b Book) write(r claims) error {
	r.SchemaVersion = schemaVersion
	if r.Claims == nil {
		r.Claims = []entry{}
	}
	if err := files.ReplaceJSONSynced(b.File, r); err != nil {
		return fmt.Errorf("record of the default sockets: %w", err)
	}
	return nil
}

// fault is where tests kill the process or interfere.
var fault = func(point string) {}

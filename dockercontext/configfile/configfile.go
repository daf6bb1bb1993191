package configfile

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	dockerconfig "github.com/docker/cli/cli/config"
)

// A Value is what a file stores as its currentContext.
type Value struct {
	// Name is the context's name as docker's own decoder sees it, "" where none is set.
	Name string
	// Unset is how the file says that none is set: null, or an empty string in quotes. It
	// is "" where the key is missing, and where a name is set.
	Unset string
}

// Current returns the currentContext stored in the file at path; the zero Value where
// there is no file. With an error, which is a *[RefusedError], it returns what docker goes
// on with after its warning.
func Current(path string) (Value, error) {
	target, err := resolve(path)
	if err != nil {
		return Value{}, err
	}
	v, err := readVersion(target)
	if err != nil {
		return Value{}, err
	}
	doc, err := parse(v.data)
	if err == nil {
		return doc.current, nil
	}
	// What can't be edited can be read, where docker reads it.
	config, loadErr := dockerconfig.LoadFromReader(bytes.NewReader(v.data))
	if loadErr == nil {
		err = nil
	}
	return Value{Name: config.CurrentContext}, at(target, err)
}

// Chosen returns the currentContext that the file at path says somebody wants, "" for none,
// once whoever has it open for writing has closed it. A file that is missing, empty or
// damaged says nothing: docker never leaves it so, but other programs do while they write.
func Chosen(path string) (current string, ok bool) {
	target, err := resolve(path)
	if err != nil {
		return "", false
	}
	v, err := readSettled(target)
	if err != nil {
		return "", false
	}
	doc, err := parse(v.data)
	if err != nil || doc.blank {
		return "", false
	}
	return doc.current.Name, true
}

// A Decision gets the currentContext as it stands and returns the next one; ok=false
// leaves it. It must have no effects: it is called again whenever somebody else has
// changed the file meanwhile.
type Decision func(current Value) (next Value, ok bool)

// Update sets the currentContext stored in the file at path as decide says. changed
// reports whether the change is in place, also where an error came after it.
//
// Where nothing is to be changed, the file is opened for reading only. Where the file
// can't be edited, the error is a *[RefusedError] and nothing is written. A missing
// file is made (0600), with its directory (0700).
//
// The caller holds a lock that keeps its own writers apart; others need none. When ctx
// ends, Update returns its error before it has begun to change anything; a change
// that is under way is finished, which takes milliseconds. What an earlier process
// left that was killed is finished first, as by [Recover].
func Update(ctx context.Context, path string, decide Decision) (changed bool, err error) {
	return update(ctx, path, deciding(decide))
}

// A changing returns the content of a version with a change made, which is the same where there
// is nothing to change. It has no effects, as a [Decision].
type changing func(version) ([]byte, error)

// deciding returns the edit of the current context.
func deciding(decide Decision) changing {
	return func(v version) ([]byte, error) {
		doc, err := parse(v.data)
		if err != nil {
			return nil, err
		}
		next, ok := decide(doc.current)
		if !ok {
			return v.data, nil
		}
		return doc.set(next, v.exists)
	}
}

// insistAt is the attempt that no longer starts over when the file has changed.
const insistAt = 3

func update(ctx context.Context, path string, change changing) (bool, error) {
	for attempt := 1; ; attempt++ {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		target, err := resolve(path)
		if err != nil {
			return false, err
		}
		if err := recoverTarget(ctx, target); err != nil {
			return false, err
		}
		before, err := readVersion(target)
		if err != nil {
			return false, err
		}
		after, err := change(before)
		if err != nil {
			// It may have been read while somebody was writing it.
			if before, err = readSettled(target); err == nil {
				after, err = change(before)
			}
		}
		if err != nil {
			return false, at(target, err)
		}
		if bytes.Equal(after, before.data) {
			return false, nil
		}
		if err := editable(target, before); err != nil {
			return false, err
		}
		changed, again, err := replace(ctx, target, attempt >= insistAt, before, after, change)
		if err != nil || !again {
			return changed, err
		}
	}
}

// replace makes after the content of target, which was before, or the same change to
// what others have made of it meanwhile.
func replace(ctx context.Context, target string, insist bool, before version, after []byte, change changing) (changed, again bool, err error) {
	const what = "can't be replaced"
	if !before.exists {
		if err := MakeDir(filepath.Dir(target)); err != nil {
			return false, false, cannotWrite(target, "its directory can't be made", err)
		}
	}
	j, err := openJournal(ctx, target)
	if err != nil {
		return false, false, cannotWrite(target, what, err)
	}
	fault("locked")
	if left, err := tempNames(target); err != nil || len(j.entries) > 0 || len(left) > 0 {
		// Killed, or another writer of ours was, since we looked.
		return false, true, cannotWrite(target, what, errors.Join(err, j.recover()))
	}

	var refused error
	changed = true
	s := newSwap(target, j)
	again, err = s.put(before, after, insist, func(theirs version) []byte {
		// Whatever they wrote must get back in place, even if it can't be edited.
		data, err := change(theirs)
		if err == nil {
			err = editable(target, theirs)
		}
		if refused = err; err != nil {
			data = theirs.data
		}
		changed = !bytes.Equal(data, theirs.data)
		return data
	})
	if again || err != nil {
		changed = false
	}
	err = cannotWrite(target, what, errors.Join(err, s.finish()))
	return changed, again, at(target, errors.Join(err, refused))
}

// Check reads and validates the file at path and returns everything that is wrong
// with it, each finding a *[RefusedError]: what keeps [Update] from working, and
// then [DuplicateKey], [Interrupted] and [Rescued], which do not. A missing file is
// fine. Nothing is written.
func Check(path string) []*RefusedError {
	target, err := resolve(path)
	if err != nil {
		return findings(path, err)
	}
	v, err := readVersion(target)
	if err != nil {
		return findings(target, err)
	}
	_, err = parse(v.data)
	found := findings(target, err)
	found = append(found, findings(target, editable(target, v))...)
	for _, f := range duplicates(v.data) {
		found = append(found, findings(target, f)...)
	}
	if interrupted(target) {
		found = append(found, &RefusedError{Path: target, Reason: Interrupted, Detail: "a process was killed while it changed the file"})
	}
	entries, err := os.ReadDir(filepath.Dir(target))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		found = append(found, findings(target, unreadable(filepath.Dir(target), err))...)
	}
	for _, entry := range entries {
		if strings.HasPrefix(entry.Name(), filepath.Base(target)+rescuedSuffix) {
			found = append(found, &RefusedError{
				Path:   filepath.Join(filepath.Dir(target), entry.Name()),
				Reason: Rescued, Detail: "holds a version of the file with settings that may be missing from it",
			})
		}
	}
	return found
}

// findings returns err, met at path, as what Check reports.
func findings(path string, err error) []*RefusedError {
	if err == nil {
		return nil
	}
	if refused, ok := errors.AsType[*RefusedError](at(path, err)); ok {
		return []*RefusedError{refused}
	}
	return []*RefusedError{{Path: path, Reason: Unreadable, Detail: "can't be examined", Err: err}}
}

// at fills in the path of a refusal that was found in the bytes alone.
func at(path string, err error) error {
	if refused, ok := errors.AsType[*RefusedError](err); ok && refused.Path == "" {
		refused.Path = path
	}
	return err
}

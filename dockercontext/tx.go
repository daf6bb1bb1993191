package dockercontext

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/docker-rd/docker-rd/dockercontext/configfile"
	"github.com/docker-rd/docker-rd/internal/files"
	"github.com/docker-rd/docker-rd/lock"
)

// lockTimeout is how long the lock is waited for where ctx gives more time. It is
// never held over a probe, so this is plenty.
const lockTimeout = 10 * time.Second

// A tx is the only way to change the stored current context and the record of who changed
// it. It exists while the promotion lock is held, and is used by one goroutine.
type tx struct {
	*Config
	ctx context.Context
	// record is what counts of the record on the disk: see [Config.valid].
	record record
	// stored is the stored current context, "" where none is set.
	stored configfile.Value
}

// update calls f under the promotion lock. f's outcome and error are returned as they are.
func (c *Config) update(ctx context.Context, f func(*tx) (Outcome, error)) (out Outcome, err error) {
	return c.locked(ctx, func(t *tx) (Outcome, error) {
		written, err := c.readRecord()
		if err != nil {
			return Outcome{}, err
		}
		if err := t.load(written); err != nil {
			return Outcome{}, err
		}
		return f(t)
	})
}

// updateAnew is update for whoever makes the record anew if it can't be understood.
func (c *Config) updateAnew(ctx context.Context, f func(*tx) (Outcome, error)) (Outcome, error) {
	return c.locked(ctx, func(t *tx) (Outcome, error) {
		written, err := c.readRecord()
		if err != nil && !isInvalid(err) {
			return Outcome{}, err
		}
		if err := t.load(written); err != nil {
			return Outcome{}, err
		}
		return f(t)
	})
}

// locked calls f under the promotion lock, with a tx that knows nothing yet.
func (c *Config) locked(ctx context.Context, f func(*tx) (Outcome, error)) (Outcome, error) {
	if err := os.MkdirAll(filepath.Dir(c.o.LockFile), 0o700); err != nil {
		return Outcome{}, fmt.Errorf("promotion lock: %w", err)
	}
	wait, cancel := context.WithTimeout(ctx, lockTimeout)
	defer cancel()
	unlock, err := lock.Acquire(wait, c.o.LockFile)
	if err != nil {
		return Outcome{}, err
	}
	defer unlock()
	return f(&tx{Config: c, ctx: ctx})
}

// load takes in the record as it is on the disk, and the stored current context. What of
// the record does not count any more is given up for good.
func (t *tx) load(written record) (err error) {
	if t.stored, err = configfile.Current(t.file()); err != nil {
		return err
	}
	var changed bool
	if t.record, changed = t.valid(written, t.stored.Name); changed {
		return t.save(t.record)
	}
	return nil
}

// save replaces the record, and returns when it is on the disk.
func (t *tx) save(r record) error {
	r.SchemaVersion = recordVersion
	if r.Promoted == nil {
		r.Promoted = []Owner{}
	}
	if r.Demoted == nil {
		r.Demoted = []Owner{}
	}
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(t.o.RecordFile), 0o700); err != nil {
		return fmt.Errorf("promotion record: %w", err)
	}
	if err := files.ReplaceSynced(t.o.RecordFile, append(data, '\n')); err != nil {
		return fmt.Errorf("promotion record: %w", err)
	}
	t.record = r
	fault("record:written")
	return nil
}

// handOver makes the context to the current one in place of the stored one. The promotion
// goes from one of us to another, either of which may be nobody. before is what was
// current before us.
//
// The record says first what is about to happen, in words that are true before and after
// the change, then what has happened: so a kill loses nothing. changed=false says that
// somebody else has changed the current context meanwhile; it is in t.stored then, and
// the record is as it was.
func (t *tx) handOver(from, to Owner, before, next configfile.Value) (changed bool, err error) {
	was := t.record
	during := record{
		Previous: before.Name, PreviousUnset: before.Unset, Before: was.Before,
		Promoted: owners(from, to), Demoted: was.Demoted,
	}
	if before.Name != was.Previous {
		during.Before = t.markedBefore(before.Name)
	}
	if err := t.save(during); err != nil {
		return false, err
	}
	if to != (Owner{}) {
		t.markBefore(to, append([]string{before.Name}, during.Before...))
	}
	fault("change:recorded")
	changed, err = t.setCurrent(next)
	fault("change:changed")
	after := was // what was before us is not known then: the record must not claim it
	if changed {
		after = during
		after.Promoted = owners(to)
		after.Demoted = remember(slices.DeleteFunc(slices.Clone(during.Demoted), func(o Owner) bool { return o == to }), owners(from)...)
	}
	err = errors.Join(err, t.save(after))
	if !changed && err == nil {
		t.stored, err = configfile.Current(t.file())
	}
	return changed, err
}

// setCurrent changes the stored current context, and reports whether it did. It leaves one
// alone that somebody else has set meanwhile.
func (t *tx) setCurrent(next configfile.Value) (changed bool, err error) {
	changed, err = configfile.Update(t.ctx, t.file(), func(current configfile.Value) (configfile.Value, bool) {
		return next, current.Name == t.stored.Name
	})
	if err != nil {
		err = fmt.Errorf("set the current context: %w", err)
	}
	if changed {
		t.stored = next
	}
	return changed, err
}

// owners returns those who are somebody.
func owners(list ...Owner) []Owner {
	return slices.DeleteFunc(list, func(o Owner) bool { return o == Owner{} })
}

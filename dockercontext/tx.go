package dockercontext

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/docker-rd/docker-rd/dockercontext/configfile"
	"github.com/docker-rd/docker-rd/internal/files"
	"github.com/docker-rd/docker-rd/lock"
)

// A tx is the only way to change the stored current context and the promotion record. It exists
// while the promotion lock is held, and belongs to one goroutine.
type tx struct {
	*Config
	ctx context.Context
	// record is the valid part of the record on the disk: see [Config.valid].
	record record
	// stored is the stored current context, "" if none is set.
	stored configfile.Value
	// damaged is a *[RecordError] if the record can't be read; then record is empty.
	damaged error
}

// update calls f under the promotion lock and returns what f returns.
func (c *Config) update(ctx context.Context, f func(*tx) (Outcome, error)) (Outcome, error) {
	return c.updateAnew(ctx, func(t *tx) (Outcome, error) {
		if t.damaged != nil {
			return Outcome{}, t.damaged
		}
		return f(t)
	})
}

// updateAnew is update, but replaces a damaged record.
func (c *Config) updateAnew(ctx context.Context, f func(*tx) (Outcome, error)) (Outcome, error) {
	return c.locked(ctx, func(t *tx) (Outcome, error) {
		written, err := c.readRecord()
		if t.damaged = err; err != nil && !isInvalid(err) {
			return Outcome{}, err
		}
		if err := t.load(written); err != nil {
			return Outcome{}, err
		}
		return f(t)
	})
}

// locked calls f under the promotion lock, which is never held over a probe, with an empty tx.
func (c *Config) locked(ctx context.Context, f func(*tx) (Outcome, error)) (out Outcome, err error) {
	err = lock.With(ctx, c.o.LockFile, func() error {
		out, err = f(&tx{Config: c, ctx: ctx})
		return err
	})
	return out, err
}

// load takes in the record on the disk and the stored current context. Parts of the record that
// do not count any more are dropped on the disk, too.
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

// save replaces the record, synced.
func (t *tx) save(r record) error {
	r.SchemaVersion = recordVersion
	if r.Promoted == nil {
		r.Promoted = []Owner{}
	}
	if r.Demoted == nil {
		r.Demoted = []Owner{}
	}
	if err := files.ReplaceJSONSynced(t.o.RecordFile, r); err != nil {
		return fmt.Errorf("promotion record: %w", err)
	}
	t.record = r
	fault("record:written")
	return nil
}

// handOver replaces the stored current context by next. The promotion goes from one owner to
// another; either may be the zero Owner. Before is what was current before the first of them;
// insisted becomes the record's.
//
// The record is written twice: first so that it is true before and after the change, then as it
// is after. So a kill loses nothing. If somebody else has changed the current context
// meanwhile, changed is false, t.stored has it, and the record is as it was.
func (t *tx) handOver(from, to Owner, before, next configfile.Value, insisted bool) (changed bool, err error) {
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
	after := was // the previous context is not known then
	if changed {
		after = during
		after.Promoted, after.Insisted = owners(to), insisted
		after.Demoted = remember(slices.DeleteFunc(slices.Clone(during.Demoted), func(o Owner) bool { return o == to }), owners(from)...)
	}
	err = errors.Join(err, t.save(after))
	if !changed && err == nil {
		t.stored, err = configfile.Current(t.file())
	}
	return changed, err
}

// setCurrent changes the stored current context, unless somebody else has changed it meanwhile.
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

// owners returns the list without zero Owners.
func owners(list ...Owner) []Owner {
	return slices.DeleteFunc(list, func(o Owner) bool { return o == Owner{} })
}

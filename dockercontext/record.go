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

	"github.com/docker-rd/docker-rd/internal/failure"
	"github.com/docker-rd/docker-rd/lock"
)

// recordVersion is the record's schema.
const recordVersion = 1

// A record says, for one Docker configuration, what was current before us and who of
// us is current by our doing. It is written before the change that it describes.
type record struct {
	SchemaVersion int `json:"schemaVersion"`
	// Previous is the stored current context before the first of us, or what somebody
	// chose in our place: never one of our own, "" where none was set.
	Previous string `json:"previous"`
	// Promoted is who of us was made current. While one hands over to another, it is
	// both, so that a kill in between loses neither.
	Promoted []Owner `json:"promoted"`
	// Demoted is who was made current before. A program that read config.json then may
	// write their names back for as long as it runs.
	Demoted []Owner `json:"demoted"`
	// Voided says that the last promotion ended by somebody else's choice.
	Voided bool `json:"voided"`
}

// maxDemoted bounds how far the record reaches back.
const maxDemoted = 16

func (r *record) promoted(owner Owner) bool { return slices.Contains(r.Promoted, owner) }

// byContext returns the owner in list of the context name.
func byContext(list []Owner, name string) (Owner, bool) {
	i := slices.IndexFunc(list, func(o Owner) bool { return o.Context == name })
	if i < 0 {
		return Owner{}, false
	}
	return list[i], true
}

// voided returns what stays of r after somebody else has chosen a context.
func (r record) voided(chosen string) record {
	return record{Previous: chosen, Demoted: remember(r.Demoted, r.Promoted...), Voided: true}
}

// remember appends owners to those demoted before, the latest last, each once.
func remember(list []Owner, owners ...Owner) []Owner {
	for _, o := range owners {
		list = append(slices.DeleteFunc(slices.Clone(list), func(x Owner) bool { return x == o }), o)
	}
	return list[max(0, len(list)-maxDemoted):]
}

// errRecord says that the record is there but can't be understood.
var errRecord = errors.New("invalid promotion record")

// readRecord returns the record, an empty one where there is none.
func (c *Config) readRecord() (record, error) {
	data, err := os.ReadFile(c.o.RecordFile)
	if errors.Is(err, os.ErrNotExist) {
		return record{}, nil
	}
	if err != nil {
		return record{}, fmt.Errorf("promotion record: %w", err)
	}
	var r record
	if err := json.Unmarshal(data, &r); err != nil {
		return record{}, invalidRecord(fmt.Errorf("%w %q: %w", errRecord, c.o.RecordFile, err))
	}
	if r.SchemaVersion != recordVersion {
		return record{}, invalidRecord(fmt.Errorf("%w %q: schema version %d, known is %d",
			errRecord, c.o.RecordFile, r.SchemaVersion, recordVersion))
	}
	return r, nil
}

func invalidRecord(err error) error {
	return failure.WithHint(err, "docker-rd context doctor --fix moves it aside")
}

// writeRecord replaces the record and returns when it is on the disk. The lock must be
// held: the new file has always the same name, so that a kill leaves at most one.
func (c *Config) writeRecord(r record) error {
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
	dir := filepath.Dir(c.o.RecordFile)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("promotion record: %w", err)
	}
	next := c.o.RecordFile + ".new"
	if err := writeSynced(next, append(data, '\n')); err != nil {
		_ = os.Remove(next)
		return fmt.Errorf("promotion record: %w", err)
	}
	fault("record:written")
	if err := os.Rename(next, c.o.RecordFile); err != nil {
		_ = os.Remove(next)
		return fmt.Errorf("promotion record: %w", err)
	}
	syncDir(dir)
	fault("record:renamed")
	return nil
}

func writeSynced(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// syncDir makes a rename in dir last. Where directories can't be synced, such as on
// Windows, the system does it.
func syncDir(dir string) {
	if d, err := os.Open(dir); err == nil {
		_ = d.Sync()
		_ = d.Close()
	}
}

// lockTimeout is how long the lock is waited for where ctx gives more time. It is
// never held over a probe, so this is plenty.
const lockTimeout = 10 * time.Second

// lock takes the lock over the current context, the record, and what depends on them.
func (c *Config) lock(ctx context.Context) (unlock func(), err error) {
	if err := os.MkdirAll(filepath.Dir(c.o.LockFile), 0o700); err != nil {
		return nil, fmt.Errorf("promotion lock: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, lockTimeout)
	defer cancel()
	return lock.Acquire(ctx, c.o.LockFile)
}

// locked calls f under the lock, with the record and the stored current context as they are
// then. f's error is returned as it is.
func (c *Config) locked(ctx context.Context, f func(r record, stored string) (Outcome, error)) (Outcome, error) {
	unlock, err := c.lock(ctx)
	if err != nil {
		return Outcome{}, err
	}
	defer unlock()
	r, err := c.readRecord()
	if err != nil {
		return Outcome{}, err
	}
	stored, err := c.Current()
	if err != nil {
		return Outcome{}, err
	}
	return f(r, stored)
}

// fault is where tests end the process, to see that the next one mends it.
var fault = func(point string) {}

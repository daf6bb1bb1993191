package dockercontext

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/containerd/errdefs"

	"github.com/docker-rd/docker-rd/dockercontext/configfile"
	"github.com/docker-rd/docker-rd/internal/endpoint"
	"github.com/docker-rd/docker-rd/internal/files"
)

// recordVersion is the record's schema.
const recordVersion = 1

// A record says, for one Docker configuration, which context was current before ours, and which
// of ours docker rd has promoted. It is written before the change that it describes.
type record struct {
	SchemaVersion int `json:"schemaVersion"`
	// Previous is the stored current context before the first promotion, or what somebody
	// chose since: never one of ours, "" if none was set. PreviousUnset is how the file said
	// so, see [configfile.Value].
	Previous      string `json:"previous"`
	PreviousUnset string `json:"previousUnset,omitempty"`
	// Before is what was current before Previous, the latest first, where that is a context
	// of a docker rd with another home: it goes when its instance stops.
	Before []string `json:"before,omitempty"`
	// Promoted is the owner that was promoted: two while one hands over to another, so that a
	// kill in between loses neither.
	Promoted []Owner `json:"promoted"`
	// Insisted says that somebody wants the promotion whatever it has replaced: the previous context
	// is not put back because it works again.
	Insisted bool `json:"insisted,omitempty"`
	// Demoted are former owners. A program that has read config.json before may write their
	// names back.
	Demoted []Owner `json:"demoted"`
	// Voided says that the last promotion ended by somebody else's choice.
	Voided bool `json:"voided"`
}

// maxDemoted bounds Demoted.
const maxDemoted = 16

func (r *record) promoted(owner Owner) bool { return slices.Contains(r.Promoted, owner) }

func (r *record) previous() configfile.Value {
	return configfile.Value{Name: r.Previous, Unset: r.PreviousUnset}
}

// byContext returns the owner of the context name in the list, which must be that of a valid
// record: names are not ownership.
func byContext(list []Owner, name string) (Owner, bool) {
	i := slices.IndexFunc(list, func(o Owner) bool { return o.Context == name })
	if i < 0 {
		return Owner{}, false
	}
	return list[i], true
}

// voided returns r after somebody else has chosen a context.
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

// valid returns the part of a record that still counts while stored is the current context, and
// whether that is less than all: an entry is void once the context of its name is somebody
// else's. A previous context that is gone is replaced by the one before it.
func (c *Config) valid(r record, stored string) (record, bool) {
	for len(r.Before) > 0 && !c.exists(r.Previous) {
		r.Previous, r.PreviousUnset, r.Before = r.Before[0], "", r.Before[1:]
	}
	promoted := slices.DeleteFunc(slices.Clone(r.Promoted), c.lost)
	demoted := slices.DeleteFunc(slices.Clone(r.Demoted), c.lost)
	if len(promoted) == len(r.Promoted) && len(demoted) == len(r.Demoted) {
		return r, false
	}
	r.Demoted = demoted
	if len(promoted) == 0 && len(r.Promoted) > 0 {
		r.Promoted = nil
		return r.voided(c.notOurs(r, stored)), true
	}
	r.Promoted = promoted
	return r, true
}

// lost reports whether the context of owner's name is somebody else's. A missing or unreadable
// one is not.
func (c *Config) lost(owner Owner) bool {
	m, err := c.store.GetMetadata(owner.Context)
	return err == nil && !belongsTo(owner, m)
}

// view returns the valid record without the lock: it may be out of date.
func (c *Config) view() (record, error) {
	written, err := c.readRecord()
	if err != nil {
		return record{}, err
	}
	stored, err := c.Current()
	if err != nil {
		return record{}, err
	}
	r, _ := c.valid(written, stored)
	return r, nil
}

// A RecordError says that the promotion record is damaged. The next promotion replaces it.
type RecordError struct {
	Path string
	Err  error // what is wrong with it
}

func (e *RecordError) Error() string {
	return fmt.Sprintf("invalid promotion record %q: %v", e.Path, e.Err)
}

func (e *RecordError) Unwrap() error { return e.Err }

func isInvalid(err error) bool {
	_, ok := errors.AsType[*RecordError](err)
	return ok
}

// readRecord returns the record as it was written, an empty one if there is none.
func (c *Config) readRecord() (record, error) {
	data, err := files.Read(c.o.RecordFile)
	if errors.Is(err, os.ErrNotExist) {
		return record{}, nil
	}
	if err != nil {
		return record{}, fmt.Errorf("promotion record: %w", err)
	}
	var r record
	err = json.Unmarshal(data, &r)
	if err == nil && r.SchemaVersion != recordVersion {
		err = fmt.Errorf("schema version %d, known is %d", r.SchemaVersion, recordVersion)
	}
	if err != nil {
		return record{}, &RecordError{Path: c.o.RecordFile, Err: err}
	}
	return r, nil
}

// notOurs returns a context that can be put back later: "" for one of ours.
func (c *Config) notOurs(r record, stored string) string {
	if _, ours := c.OwnerOf(stored); ours {
		return ""
	}
	if _, ours := byContext(r.Demoted, stored); ours && !c.exists(stored) {
		return ""
	}
	return stored
}

// exists reports whether a context exists. One with unreadable metadata does.
func (c *Config) exists(name string) bool {
	if name == endpoint.DefaultContext || name == "" {
		return true
	}
	_, err := c.store.GetMetadata(name)
	return !errdefs.IsNotFound(err)
}

// fault is where tests kill the process.
var fault = func(point string) {}

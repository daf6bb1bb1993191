package dockercontext

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/cli/cli/context/docker"
	"github.com/docker/cli/cli/context/store"

	"github.com/docker-rd/docker-rd/dockercontext/configfile"
	"github.com/docker-rd/docker-rd/internal/endpoint"
	"github.com/docker-rd/docker-rd/internal/pause"
	"github.com/docker-rd/docker-rd/mirror/state"
)

// markKey is the key of our mark in a context's metadata. `docker context create --from`, export
// and import copy the mark, so it has the context's name.
const markKey = "io.github.docker-rd"

// ownerIn returns the owner by the mark in the metadata of the context name.
func ownerIn(m store.Metadata, name string) (Owner, bool) {
	fields, _ := m.Metadata.(map[string]any)
	mark, _ := fields[markKey].(map[string]any)
	uid, _ := mark["uid"].(string)
	of, _ := mark["context"].(string)
	if uid == "" || of != name {
		return Owner{}, false
	}
	return Owner{UID: uid, Context: name}, true
}

// beforeKey is where our mark says what was current before the context, the latest first, for
// a docker rd with another home that promotes over it: it knows nothing of our record.
const beforeKey = "before"

// maxBefore bounds how far a mark reaches back.
const maxBefore = 8

// markedBefore returns what was current before a context, as its mark says.
func (c *Config) markedBefore(name string) (before []string) {
	m, err := c.store.GetMetadata(name)
	if _, ours := ownerIn(m, name); err != nil || !ours {
		return nil
	}
	list, _ := m.Metadata.(map[string]any)[markKey].(map[string]any)[beforeKey].([]any)
	for _, item := range list {
		if s, ok := item.(string); ok && len(before) < maxBefore {
			before = append(before, s)
		}
	}
	return before
}

// markBefore has owner's context say what was current before it. Nothing else depends on that.
func (c *Config) markBefore(owner Owner, before []string) {
	m, err := c.store.GetMetadata(owner.Context)
	if err != nil || !belongsTo(owner, m) || slices.Equal(c.markedBefore(owner.Context), before) {
		return
	}
	m.Metadata.(map[string]any)[markKey].(map[string]any)[beforeKey] = before[:min(len(before), maxBefore)]
	if c.store.CreateOrUpdate(m) == nil {
		c.giveToOwner(owner.Context)
	}
}

// belongsTo reports whether m is the metadata of owner's context.
func belongsTo(owner Owner, m store.Metadata) bool {
	found, ok := ownerIn(m, owner.Context)
	return ok && found == owner
}

// marked returns the owner by the mark in a stored context, whether the instance exists or not.
func (c *Config) marked(name string) (Owner, bool) {
	m, err := c.store.GetMetadata(name)
	if err != nil {
		return Owner{}, false
	}
	return ownerIn(m, name)
}

// OwnerOf returns which instance of ours a stored context belongs to, if any: by the mark in it,
// not by its name alone.
func (c *Config) OwnerOf(name string) (Owner, bool) {
	owner, ok := c.marked(name)
	if !ok || !c.known(owner) {
		return Owner{}, false
	}
	return owner, true
}

// Exists reports whether owner's context is there and its own.
func (c *Config) Exists(owner Owner) (bool, error) {
	m, err := c.store.GetMetadata(owner.Context)
	if errdefs.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("context %q: %w", owner.Context, err)
	}
	return belongsTo(owner, m), nil
}

// Ready returns the state of owner's context, whose engine is at e, as a reason of the condition
// ContextReady: Created, Removed or LedElsewhere (by the user), Foreign, Failed if it can't be read,
// or NotApplicable. Where e has no host, where the context leads is not looked at.
func (c *Config) Ready(owner Owner, e endpoint.Endpoint) Outcome {
	if owner.Context == "" {
		return noContext
	}
	m, err := c.store.GetMetadata(owner.Context)
	if errdefs.IsNotFound(err) {
		return outcome(state.ReasonRemoved, "Context %q was removed; the next start makes it again.", owner.Context)
	}
	if err != nil {
		return failed(err, "Context %q can't be read", owner.Context)
	}
	if !belongsTo(owner, m) {
		return foreign(owner)
	}
	if e.Host != "" && !c.leadsTo(owner.Context, e) {
		return outcome(state.ReasonLedElsewhere, "Context %q was changed: it does not lead to %s; the next start leads it back.", owner.Context, e.Shown())
	}
	return outcome(state.ReasonCreated, "Context %q exists.", owner.Context)
}

var noContext = outcome(state.ReasonNotApplicable, "This instance has no context of its own.")

func foreign(owner Owner) Outcome {
	return outcome(state.ReasonForeign, "A context %q that is not this instance's is left alone.", owner.Context)
}

// Create creates owner's context or updates its endpoint, and returns the reason of the condition
// ContextReady. What the user has added to the context stays. A context of that name that is not
// owner's stays as it is: Foreign.
func (c *Config) Create(ctx context.Context, owner Owner, e endpoint.Endpoint, description string) Outcome {
	if owner.Context == "" {
		return noContext
	}
	if err := store.ValidateContextName(owner.Context); err != nil {
		return c.notReady(owner, err)
	}
	var out Outcome
	err := retry(ctx, func() (err error) {
		out, err = c.create(owner, e, description)
		return err
	})
	if err != nil {
		return c.notReady(owner, err)
	}
	return out
}

func (c *Config) create(owner Owner, e endpoint.Endpoint, description string) (Outcome, error) {
	m, err := c.store.GetMetadata(owner.Context)
	switch {
	case errdefs.IsNotFound(err):
		m = store.Metadata{
			Name: owner.Context,
			Metadata: map[string]any{
				"Description": description,
				markKey:       map[string]any{"uid": owner.UID, "context": owner.Context},
			},
		}
	case err != nil:
		return Outcome{}, err
	case !belongsTo(owner, m):
		return foreign(owner), nil
	}
	out := outcome(state.ReasonCreated, "Context %q leads to %s.", owner.Context, e.Shown())
	if c.leadsTo(owner.Context, e) {
		c.giveToOwner(owner.Context) // if root was killed before it
		return out, nil
	}
	if err := configfile.MakeDir(c.o.Dir); err != nil {
		return Outcome{}, err
	}
	if m.Endpoints == nil {
		m.Endpoints = map[string]any{}
	}
	m.Endpoints[docker.DockerEndpoint] = docker.EndpointMeta{Host: e.Host, SkipTLSVerify: e.SkipTLSVerify}
	// Keys and certificates first: with the metadata, the context can be used.
	if err := c.store.ResetEndpointTLSMaterial(owner.Context, docker.DockerEndpoint, tlsData(e.TLS)); err != nil {
		return Outcome{}, err
	}
	if err := c.store.CreateOrUpdate(m); err != nil {
		return Outcome{}, err
	}
	c.giveToOwner(owner.Context)
	out.Changed = true
	return out, nil
}

// leadsTo reports whether a context has the endpoint e.
func (c *Config) leadsTo(name string, e endpoint.Endpoint) bool {
	have, err := endpoint.FromContext(c.store, name)
	return err == nil && have.Host == e.Host && have.SkipTLSVerify == e.SkipTLSVerify &&
		maps.EqualFunc(tlsData(have.TLS).Files, tlsData(e.TLS).Files, bytes.Equal)
}

// tlsData returns what is to be stored.
func tlsData(t *endpoint.TLS) *store.EndpointTLSData {
	files := map[string][]byte{}
	if t != nil {
		for name, data := range map[string][]byte{"ca.pem": t.CA, "cert.pem": t.Cert, "key.pem": t.Key} {
			if data != nil {
				files[name] = data
			}
		}
	}
	return &store.EndpointTLSData{Files: files}
}

// notReady maps an error to a reason of the condition ContextReady.
func (c *Config) notReady(owner Owner, err error) Outcome {
	if readOnly(err) {
		out := outcome(state.ReasonConfigReadOnly, "The Docker configuration in %s can't be written, so there is no context %q.", c.o.Dir, owner.Context)
		out.Err = err
		return out
	}
	return failed(err, "Context %q can't be made", owner.Context)
}

// readOnly reports whether err says that the configuration can't be written here.
func readOnly(err error) bool {
	refused, ok := errors.AsType[*configfile.RefusedError](err)
	return ok && refused.Reason == configfile.ReadOnly || errors.Is(err, os.ErrPermission) || errors.Is(err, syscall.EROFS)
}

// Remove removes owner's context, unless it is the current one or not owner's. The outcome's
// reason is Removed if the context is gone now, AlreadyCurrent or Foreign if it stays, Failed or
// ConfigReadOnly.
func (c *Config) Remove(ctx context.Context, owner Owner) Outcome {
	if owner.Context == "" {
		return noContext
	}
	// No promotion may begin between looking and removing.
	out, err := c.locked(ctx, func(t *tx) (Outcome, error) { return t.remove(owner) })
	if err != nil {
		return c.notRemoved(owner, err)
	}
	return out
}

// remove removes owner's context. If there is none, the record and config.json may be damaged.
func (t *tx) remove(owner Owner) (Outcome, error) {
	missing := outcome(state.ReasonRemoved, "There is no context %q.", owner.Context)
	m, err := t.store.GetMetadata(owner.Context)
	switch {
	case errdefs.IsNotFound(err):
		return missing, nil
	case err != nil:
		return Outcome{}, err
	case !belongsTo(owner, m):
		return foreign(owner), nil
	}
	// To restore it.
	saved, err := endpoint.FromContext(t.store, owner.Context)
	if errdefs.IsNotFound(err) {
		return missing, nil
	}
	if err != nil && !errors.Is(err, endpoint.ErrNoHost) && !errors.Is(err, endpoint.ErrNoEndpoint) {
		return Outcome{}, err
	}
	current, err := t.Current()
	if err != nil {
		return Outcome{}, err
	}
	kept := outcome(state.ReasonAlreadyCurrent, "Context %q is the current one and stays.", owner.Context)
	kept.Current = owner.Context
	if current == owner.Context {
		return kept, nil
	}
	fault("remove:checked")
	if err := retry(t.ctx, func() error { return t.store.Remove(owner.Context) }); err != nil {
		return Outcome{}, err
	}
	fault("remove:removed")
	// Docker takes no lock: somebody may have chosen it just now.
	if current, err := t.Current(); err == nil && current == owner.Context {
		return kept, retry(t.ctx, func() error {
			if err := t.store.ResetEndpointTLSMaterial(owner.Context, docker.DockerEndpoint, tlsData(saved.TLS)); err != nil {
				return err
			}
			return t.store.CreateOrUpdate(m)
		})
	}
	out := outcome(state.ReasonRemoved, "Context %q is removed.", owner.Context)
	out.Changed = true
	return out, nil
}

func (c *Config) notRemoved(owner Owner, err error) Outcome {
	out := failed(err, "Context %q can't be removed", owner.Context)
	if readOnly(err) {
		out.Reason = state.ReasonConfigReadOnly
	}
	return out
}

// retry repeats f while it fails as the store does when others make or remove contexts at the
// same time: a directory is missing, or not empty.
func retry(ctx context.Context, f func() error) error {
	const attempts, interval = 20, 5 * time.Millisecond
	for i := 1; ; i++ {
		err := f()
		if err == nil || i == attempts || !errors.Is(err, os.ErrNotExist) && !errors.Is(err, syscall.ENOTEMPTY) {
			return err
		}
		if ended := pause.For(ctx, interval); ended != nil {
			return errors.Join(ended, err)
		}
	}
}

package dockercontext

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/docker/cli/cli/context/store"

	"github.com/docker-rd/docker-rd/dockercontext/configfile"
	"github.com/docker-rd/docker-rd/internal/endpoint"
	"github.com/docker-rd/docker-rd/mirror/state"
)

// Codes of findings. Scripts may rely on them.
const (
	findingConfigInvalid           = "ConfigInvalid"
	findingConfigNotEditable       = "ConfigNotEditable"
	findingConfigDuplicateKey      = "ConfigDuplicateKey"
	findingConfigInterrupted       = "ConfigInterrupted"
	findingConfigRescued           = "ConfigRescued"
	findingUnreadable              = "Unreadable"
	findingCurrentContextMissing   = "CurrentContextMissing"
	findingEngineGone              = "EngineGone"
	findingMetadataCorrupt         = "MetadataCorrupt"
	findingEnvOverride             = "EnvOverride"
	findingCredentialHelperMissing = "CredentialHelperMissing"
	findingContextWithoutInstance  = "ContextWithoutInstance"
	findingInstanceWithoutContext  = "InstanceWithoutContext"
	findingForeignContext          = "ForeignContext"
	findingRecordInvalid           = "RecordInvalid"
	findingSocketLeft              = "SocketLeft"
)

// A Finding is a fault of a Docker configuration.
type Finding struct {
	// Code is a word for programs; docs/contexts.md lists them.
	Code string `json:"code"`
	// Subject is the context, variable or file concerned.
	Subject string `json:"subject"`
	// Message says what is wrong, Remedy what [Finding.Fix] will do if Fixable, else what the
	// user can do: sentences for people.
	Message string `json:"message"`
	Remedy  string `json:"remedy"`
	Fixable bool   `json:"fixable"`

	fix func(context.Context) (Fixed, error)
}

func (f Finding) fixedBy(fix func(context.Context) (Fixed, error)) Finding {
	f.Fixable, f.fix = true, fix
	return f
}

// A Fixed says what [Finding.Fix] did.
type Fixed struct {
	// Message is a sentence for people.
	Message string `json:"message"`
	// Backup is the copy of a file that was changed, or "".
	Backup string `json:"backup,omitempty"`
}

// Fix repairs a Fixable finding, as its Remedy says, after it has copied what it changes beside the
// original. It does nothing for a finding that is not true any more. Ctx bounds the waits for other
// processes and for engines. An error says what could not be done; then nothing is lost.
func (f Finding) Fix(ctx context.Context) (Fixed, error) {
	if f.fix == nil {
		return Fixed{}, fmt.Errorf("%s %q can't be repaired automatically", f.Code, f.Subject)
	}
	return f.fix(ctx)
}

// Doctor finds faults of the configuration and changes nothing. The error says that docker rd's
// instances can't be read.
func (c *Config) Doctor(ctx context.Context) ([]Finding, error) {
	instances, err := c.o.Owners.All()
	if err != nil {
		return nil, err
	}
	var found []Finding
	add := func(f ...Finding) { found = append(found, f...) }
	for _, refused := range configfile.Check(c.file()) {
		add(c.badConfig(refused))
	}
	stored, err := c.Current()
	if err == nil {
		add(c.currentMissing(stored)...)
		add(c.engineGone(ctx, stored, instances)...)
		add(c.overridden(stored, instances)...)
	}
	add(c.credentialHelpers()...)
	add(c.damagedContexts(ctx, instances)...)
	add(c.missingContexts(instances)...)
	add(c.socketsLeft()...)
	if _, err := c.readRecord(); isInvalid(err) {
		f := Finding{
			Code: findingRecordInvalid, Subject: c.o.RecordFile, Message: sentence(err),
			Remedy: "The file is moved aside; docker rd then no longer knows which context to put back.",
		}
		add(f.fixedBy(func(ctx context.Context) (Fixed, error) {
			return c.moveAside(ctx, f.Subject, func() error { _, err := c.readRecord(); return err })
		}))
	} else if err != nil {
		add(unreadable(c.o.RecordFile, err))
	}
	return found, nil
}

// socketsLeft finds default sockets that lead to engines that are gone.
func (c *Config) socketsLeft() []Finding {
	owners, err := c.o.Claims.Owners()
	if err != nil {
		return []Finding{unreadable(c.o.Claims.File, err)}
	}
	var found []Finding
	for _, o := range owners {
		paths, _ := c.o.Claims.Holds(o)
		if len(paths) == 0 || !c.gone(o) {
			continue
		}
		found = append(found, Finding{
			Code: findingSocketLeft, Subject: paths[0],
			Message: fmt.Sprintf("docker rd has claimed %s for context %q, whose engine is gone.", strings.Join(paths, " and "), o.Context),
			Remedy:  "It is given back.",
		}.fixedBy(func(ctx context.Context) (Fixed, error) {
			out := c.Release(ctx, o)
			return Fixed{Message: out.Message}, out.Err
		}))
	}
	return found
}

func unreadable(path string, err error) Finding {
	return Finding{
		Code: findingUnreadable, Subject: path, Message: sentence(err),
		Remedy: fmt.Sprintf("Make %s readable for this user.", path),
	}
}

func (c *Config) badConfig(e *configfile.RefusedError) Finding {
	f := Finding{Code: findingConfigNotEditable, Subject: e.Path, Message: sentence(e)}
	switch e.Reason {
	case configfile.Unreadable:
		return unreadable(e.Path, e)
	case configfile.InvalidJSON, configfile.BOM, configfile.TrailingData, configfile.WrongType:
		f.Code = findingConfigInvalid
		f.Remedy = "Correct the file by hand: docker's own commands overwrite it and lose what it holds. docker rd never rewrites it."
	case configfile.DuplicateKey:
		f.Code = findingConfigDuplicateKey
		f.Remedy = "Remove all but one by hand: docker uses the last one, and drops the others when it writes."
	case configfile.Interrupted:
		f.Code = findingConfigInterrupted
		f.Remedy = "The change is finished or undone, so that nobody's settings are lost."
		return f.fixedBy(func(ctx context.Context) (Fixed, error) {
			return Fixed{Message: fmt.Sprintf("The interrupted change of %s is tidied up.", f.Subject)}, configfile.Recover(ctx, f.Subject)
		})
	case configfile.Rescued:
		f.Code = findingConfigRescued
		f.Remedy = "Compare it with config.json, take over what is missing, and remove it."
	default:
		f.Remedy = "docker rd leaves the current context as it is; docker --context NAME works without it."
	}
	return f
}

func (c *Config) currentMissing(stored string) []Finding {
	if c.exists(stored) {
		return nil
	}
	f := Finding{
		Code: findingCurrentContextMissing, Subject: stored,
		Message: fmt.Sprintf("The current context %q does not exist, so every docker command fails.", stored),
		Remedy:  "No context is made the current one, which means \"default\".",
	}
	if r, err := c.view(); err == nil {
		if _, ours := byContext(slices.Concat(r.Promoted, r.Demoted), stored); ours {
			f.Message += " It was one of docker rd's. A program that had read config.json while it was current, such as docker login, has written it back since."
			f.Remedy = fmt.Sprintf("What was current before is put back: %q if it works.", named(r.Previous))
		}
	}
	return []Finding{f.fixedBy(func(ctx context.Context) (Fixed, error) {
		return c.fixFile(func() (Outcome, error) { return c.fixMissing(ctx, stored) })
	})}
}

// engineGone finds a current context of ours that leads nowhere: a promotion after its
// supervisor was killed, the rest of an uninstallation, or an instance that the user has chosen
// and stopped.
func (c *Config) engineGone(ctx context.Context, stored string, instances []OwnerInfo) []Finding {
	r, err := c.view()
	if err != nil || named(stored) == endpoint.DefaultContext || !c.exists(stored) {
		return nil
	}
	owner, promoted := byContext(r.Promoted, stored)
	if !promoted {
		var ours bool
		if owner, ours = c.marked(stored); !ours {
			return nil
		}
	}
	i := slices.IndexFunc(instances, func(i OwnerInfo) bool { return i.owns(owner) })
	if i >= 0 && instances[i].State != Gone {
		return nil
	}
	f := Finding{Code: findingEngineGone, Subject: stored}
	switch {
	case promoted:
		f.Message = fmt.Sprintf("The current context %q was made current by docker rd, and its engine is gone.", stored)
		f.Remedy = fmt.Sprintf("What was current before is put back: %q if it works.", named(r.Previous))
		f = f.fixedBy(func(ctx context.Context) (Fixed, error) {
			return c.fixFile(func() (Outcome, error) { out := c.Repair(ctx); return out, out.Err })
		})
	case i >= 0:
		f.Message = fmt.Sprintf("The current context %q was chosen by somebody, and its engine does not run.", stored)
		f.Remedy = "Start the instance, or choose another context: `docker context use default`."
	case c.forJudging().Probe(ctx, stored)[0].Health == Broken:
		f.Message = fmt.Sprintf("The current context %q is docker rd's, and its engine is gone together with its instance.", stored)
		f.Remedy = "No context is made the current one, which means \"default\"."
		f = f.fixedBy(func(ctx context.Context) (Fixed, error) {
			return c.fixFile(func() (Outcome, error) { return c.unset(ctx, stored) })
		})
	default:
		return nil // see orphan
	}
	return []Finding{f}
}

func (c *Config) overridden(stored string, instances []OwnerInfo) []Finding {
	name := c.EnvOverride()
	running := slices.ContainsFunc(instances, func(i OwnerInfo) bool { return i.State == Up })
	if name == "" || stored == "" && !running {
		return nil
	}
	return []Finding{{
		Code: findingEnvOverride, Subject: name,
		Message: fmt.Sprintf("%s=%s overrides the current context %q in this shell.", name, endpoint.Endpoint{Host: c.o.Getenv(name)}.Shown(), named(stored)),
		Remedy:  fmt.Sprintf("To follow the current context, unset %s.", name),
	}}
}

func (c *Config) credentialHelpers() []Finding {
	data, err := os.ReadFile(c.file())
	if err != nil {
		return nil
	}
	var f struct {
		CredsStore  string
		CredHelpers map[string]string
	}
	if json.Unmarshal(data, &f) != nil {
		return nil // reported already
	}
	helpers := map[string]string{}
	for registry, h := range f.CredHelpers {
		helpers[h] = fmt.Sprintf("credHelpers names it for %s", registry)
	}
	if f.CredsStore != "" {
		helpers[f.CredsStore] = "credsStore names it"
	}
	var found []Finding
	for _, h := range slices.Sorted(maps.Keys(helpers)) {
		program := "docker-credential-" + h
		if _, err := exec.LookPath(program); h != "" && err != nil {
			found = append(found, Finding{
				Code: findingCredentialHelperMissing, Subject: h,
				Message: fmt.Sprintf("The program %s is not installed, but %s in %s: logging in and pulling fail.", program, helpers[h], c.file()),
				Remedy:  fmt.Sprintf("Install %s, or remove it from the file.", program),
			})
		}
	}
	return found
}

// damagedContexts looks at every stored context.
func (c *Config) damagedContexts(ctx context.Context, instances []OwnerInfo) []Finding {
	entries, err := c.list()
	if err != nil {
		return []Finding{unreadable(filepath.Join(c.o.Dir, "contexts"), err)}
	}
	var found []Finding
	for _, e := range entries {
		if e.Err != nil {
			found = append(found, c.corrupt(e))
			continue
		}
		owner, ours := c.marked(e.Name)
		known := func(i OwnerInfo) bool { return i.owns(owner) }
		if ours && !slices.ContainsFunc(instances, known) {
			found = append(found, c.orphan(ctx, e, owner))
		}
	}
	return found
}

// corrupt returns the finding for a context that can't be read.
func (c *Config) corrupt(e entry) Finding {
	if errors.Is(e.Err, os.ErrPermission) {
		return unreadable(e.Path, e.Err)
	}
	consequence := "docker context ls fails because of it."
	if errors.Is(e.Err, errMisplaced) {
		consequence = "docker lists that context, but can't use it."
	}
	f := Finding{
		Code: findingMetadataCorrupt, Subject: cmp.Or(e.Name, e.Path),
		Message: fmt.Sprintf("%s: %s %s", e.Path, sentence(e.Err), consequence),
		Remedy:  "Correct the file by hand, or move it out of the contexts directory.",
	}
	// Only a file with nothing usable in it is moved automatically.
	if _, ok := errors.AsType[*json.SyntaxError](e.Err); ok {
		f.Remedy = "The file is moved aside, so that the context is gone; its content is kept."
		f = f.fixedBy(func(ctx context.Context) (Fixed, error) {
			return c.moveAside(ctx, e.Path, func() error { return checkMetadataFile(e.Path) })
		})
	}
	return f
}

// orphan returns the finding for a context of an unknown instance. It may be known elsewhere, so
// only a broken one is removed.
func (c *Config) orphan(ctx context.Context, e entry, owner Owner) Finding {
	f := Finding{
		Code: findingContextWithoutInstance, Subject: e.Name,
		Message: fmt.Sprintf("Context %q belongs to an instance of docker rd that does not exist here.", e.Name),
		Remedy:  fmt.Sprintf("If nobody needs it: `docker context rm %s`.", e.Name),
	}
	if store.ValidateContextName(e.Name) != nil {
		return f // docker rd has not made it
	}
	if r := c.Probe(ctx, e.Name)[0]; r.Health == Broken {
		f.Message += " " + r.Message
		f.Remedy = "The context is removed, after it has been exported: `docker context import` brings it back."
		f = f.fixedBy(func(ctx context.Context) (Fixed, error) { return c.removeOrphan(ctx, e, owner) })
	}
	return f
}

func (c *Config) missingContexts(instances []OwnerInfo) []Finding {
	var found []Finding
	for _, i := range instances {
		if i.State != Up || i.Context == "" {
			continue
		}
		again := Finding{Code: findingInstanceWithoutContext, Subject: i.Context, Remedy: "The context is made again."}.
			fixedBy(func(ctx context.Context) (Fixed, error) {
				out := c.Create(ctx, i.Owner, i.Endpoint, i.Description)
				return Fixed{Message: out.Message}, out.Err
			})
		switch out := c.Ready(i.Owner, i.Endpoint); out.Reason {
		case state.ReasonRemoved:
			again.Message = fmt.Sprintf("A running instance has no context %q, or not any more.", i.Context)
			found = append(found, again)
		case state.ReasonLedElsewhere:
			again.Message = fmt.Sprintf("The context %q of a running instance was changed: it does not lead to %s.", i.Context, i.Endpoint.Shown())
			found = append(found, again)
		case state.ReasonForeign:
			found = append(found, Finding{
				Code: findingForeignContext, Subject: i.Context,
				Message: fmt.Sprintf("A context %q exists that is not docker rd's, so the instance has none.", i.Context),
				Remedy:  fmt.Sprintf("Rename or remove it (`docker context export %[1]s`, `docker context rm %[1]s`), then restart the instance.", i.Context),
			})
		}
	}
	return found
}

package dockercontext

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"github.com/docker/cli/cli/context/store"

	"github.com/docker-rd/docker-rd/dockercontext/configfile"
	"github.com/docker-rd/docker-rd/internal/endpoint"
)

// Codes of findings. Scripts may rely on them.
const (
	FindingConfigInvalid           = "ConfigInvalid"
	FindingConfigNotEditable       = "ConfigNotEditable"
	FindingConfigDuplicateKey      = "ConfigDuplicateKey"
	FindingConfigInterrupted       = "ConfigInterrupted"
	FindingConfigRescued           = "ConfigRescued"
	FindingUnreadable              = "Unreadable"
	FindingCurrentContextMissing   = "CurrentContextMissing"
	FindingEngineGone              = "EngineGone"
	FindingMetadataCorrupt         = "MetadataCorrupt"
	FindingEnvOverride             = "EnvOverride"
	FindingCredentialHelperMissing = "CredentialHelperMissing"
	FindingContextWithoutInstance  = "ContextWithoutInstance"
	FindingInstanceWithoutContext  = "InstanceWithoutContext"
	FindingForeignContext          = "ForeignContext"
	FindingRecordInvalid           = "RecordInvalid"
)

// A Finding is something that is wrong with a Docker configuration.
type Finding struct {
	// Code is one of the Finding constants.
	Code string `json:"code"`
	// Subject is what is concerned: a context, a variable, a file.
	Subject string `json:"subject"`
	// Message says what is wrong, Remedy what [Config.Fix] will do where Fixable, else
	// what the user can do: sentences for people.
	Message string `json:"message"`
	Remedy  string `json:"remedy"`
	// Fixable tells that Fix can mend it.
	Fixable bool `json:"fixable"`

	path  string   // the file to mend
	inst  Instance // the instance concerned
	unset bool     // nobody knows what was current before
}

// An Instance is what the doctor has to know of an instance of ours. One that can't be
// read has no uid; its context's name counts then.
type Instance struct {
	Owner
	// Running tells that its engine should be reachable at Endpoint, Gone that it is
	// down and nobody is going to start it again.
	Running, Gone bool
	Endpoint      endpoint.Endpoint
	Description   string
}

// Doctor looks for what is wrong with the configuration, given all instances of ours
// that use it. It changes nothing.
func (c *Config) Doctor(ctx context.Context, instances []Instance) []Finding {
	var found []Finding
	add := func(f ...Finding) { found = append(found, f...) }
	for _, refused := range configfile.Check(c.file()) {
		add(badConfig(refused))
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
	if _, err := c.readRecord(); errors.Is(err, errRecord) {
		add(Finding{
			Code: FindingRecordInvalid, Subject: c.o.RecordFile, Message: sentence(err), Fixable: true, path: c.o.RecordFile,
			Remedy: "The file is moved aside; docker rd then no longer knows which context to put back.",
		})
	} else if err != nil {
		add(unreadable(c.o.RecordFile, err))
	}
	return found
}

func unreadable(path string, err error) Finding {
	return Finding{
		Code: FindingUnreadable, Subject: path, Message: sentence(err),
		Remedy: fmt.Sprintf("Make %s readable for this user.", path),
	}
}

// badConfig makes a finding of what is wrong with config.json.
func badConfig(e *configfile.RefusedError) Finding {
	f := Finding{Code: FindingConfigNotEditable, Subject: e.Path, Message: sentence(e), path: e.Path}
	switch e.Reason {
	case configfile.Unreadable:
		return unreadable(e.Path, e)
	case configfile.InvalidJSON, configfile.BOM, configfile.TrailingData, configfile.WrongType:
		f.Code = FindingConfigInvalid
		f.Remedy = "Correct the file by hand: docker's own commands overwrite it and lose what it holds. docker rd never rewrites it."
	case configfile.DuplicateKey:
		f.Code = FindingConfigDuplicateKey
		f.Remedy = "Remove all but one by hand: docker uses the last one, and drops the others when it writes."
	case configfile.Interrupted:
		f.Code, f.Fixable = FindingConfigInterrupted, true
		f.Remedy = "The change is finished or undone, so that nobody's settings are lost."
	case configfile.Rescued:
		f.Code = FindingConfigRescued
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
		Code: FindingCurrentContextMissing, Subject: stored, Fixable: true, path: c.file(),
		Message: fmt.Sprintf("The current context %q does not exist, so every docker command fails.", stored),
		Remedy:  "No context is made the current one, which means \"default\".",
	}
	if r, err := c.readRecord(); err == nil {
		if _, ours := byContext(slices.Concat(r.Promoted, r.Demoted), stored); ours {
			f.Message += " It was one of docker rd's. A program that had read config.json while it was current, such as docker login, has written it back since."
			f.Remedy = fmt.Sprintf("What was current before is put back: %q if it works.", named(r.Previous))
		}
	}
	return []Finding{f}
}

// engineGone finds a current context of ours that leads nowhere: a promotion that nobody
// has taken back since the supervisor was killed, what an uninstallation has left, or
// what the user has chosen and stopped.
func (c *Config) engineGone(ctx context.Context, stored string, instances []Instance) []Finding {
	r, err := c.readRecord()
	if err != nil || named(stored) == DefaultName || !c.exists(stored) {
		return nil
	}
	owner, promoted := byContext(r.Promoted, stored)
	if !promoted {
		var ours bool
		if owner, ours = c.marked(stored); !ours {
			return nil
		}
	}
	i := slices.IndexFunc(instances, func(i Instance) bool { return i.owns(owner) })
	if i >= 0 && !instances[i].Gone {
		return nil
	}
	f := Finding{Code: FindingEngineGone, Subject: stored, Fixable: true, path: c.file(), inst: Instance{Owner: owner}}
	switch {
	case promoted:
		f.Message = fmt.Sprintf("The current context %q was made current by docker rd, and its engine is gone.", stored)
		f.Remedy = fmt.Sprintf("What was current before is put back: %q if it works.", named(r.Previous))
	case i >= 0:
		f.Fixable = false
		f.Message = fmt.Sprintf("The current context %q was chosen by somebody, and its engine does not run.", stored)
		f.Remedy = "Start the instance, or choose another context: docker context use default."
	case c.withoutEnvironment().Probe(ctx, stored)[0].Health == Broken:
		f.Message = fmt.Sprintf("The current context %q is docker rd's, and its engine is gone together with its instance.", stored)
		f.Remedy = "No context is made the current one, which means \"default\"."
		f.unset = true
	default:
		return nil // see orphan
	}
	return []Finding{f}
}

func (i Instance) owns(o Owner) bool {
	return i.Context == o.Context && (i.UID == o.UID || i.UID == "")
}

func (c *Config) overridden(stored string, instances []Instance) []Finding {
	name := c.EnvOverride()
	running := slices.ContainsFunc(instances, func(i Instance) bool { return i.Running })
	if name == "" || stored == "" && !running {
		return nil
	}
	return []Finding{{
		Code: FindingEnvOverride, Subject: name,
		Message: fmt.Sprintf("%s=%s overrides the current context %q in this shell.", name, c.o.Getenv(name), named(stored)),
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
				Code: FindingCredentialHelperMissing, Subject: h,
				Message: fmt.Sprintf("The program %s is not installed, but %s in %s: logging in and pulling fail.", program, helpers[h], c.file()),
				Remedy:  fmt.Sprintf("Install %s, or remove it from the file.", program),
			})
		}
	}
	return found
}

// damagedContexts looks at every stored context.
func (c *Config) damagedContexts(ctx context.Context, instances []Instance) []Finding {
	entries, err := c.list()
	if err != nil {
		return []Finding{unreadable(filepath.Join(c.o.Dir, "contexts"), err)}
	}
	var found []Finding
	for _, e := range entries {
		subject := e.Name
		if subject == "" {
			subject = e.Path
		}
		switch {
		case e.Err == nil:
		case errors.Is(e.Err, os.ErrPermission):
			found = append(found, unreadable(e.Path, e.Err))
		default:
			consequence := "docker context ls fails because of it."
			if errors.Is(e.Err, errMisplaced) {
				consequence = "docker lists that context, but can't use it."
			}
			f := Finding{
				Code: FindingMetadataCorrupt, Subject: subject, path: e.Path,
				Message: fmt.Sprintf("%s: %s %s", e.Path, sentence(e.Err), consequence),
				Remedy:  "Correct the file by hand, or move it out of the contexts directory.",
			}
			// Only what holds nothing that could be used is moved without a person.
			var syntax *json.SyntaxError
			if errors.As(e.Err, &syntax) {
				f.Fixable = true
				f.Remedy = "The file is moved aside, so that the context is gone; its content is kept."
			}
			found = append(found, f)
			continue
		}
		owner, ours := c.marked(e.Name)
		if e.Err != nil || !ours {
			continue
		}
		known := func(i Instance) bool { return i.owns(owner) }
		if !slices.ContainsFunc(instances, known) {
			found = append(found, c.orphan(ctx, e, owner))
		}
	}
	return found
}

// orphan is a context of ours whose instance is not known. It may be known elsewhere:
// only one that leads nowhere is removed.
func (c *Config) orphan(ctx context.Context, e entry, owner Owner) Finding {
	f := Finding{
		Code: FindingContextWithoutInstance, Subject: e.Name, path: e.Path, inst: Instance{Owner: owner},
		Message: fmt.Sprintf("Context %q belongs to an instance of docker rd that does not exist here.", e.Name),
		Remedy:  fmt.Sprintf("If nobody needs it: docker context rm %s.", e.Name),
	}
	if store.ValidateContextName(e.Name) != nil {
		return f // none that we have made, whatever it says
	}
	if r := c.Probe(ctx, e.Name)[0]; r.Health == Broken {
		f.Fixable = true
		f.Message += " " + r.Message
		f.Remedy = "The context is removed, after it has been exported: docker context import brings it back."
	}
	return f
}

func (c *Config) missingContexts(instances []Instance) []Finding {
	var found []Finding
	for _, i := range instances {
		if !i.Running || i.Context == "" {
			continue
		}
		switch out := c.Ready(i.Owner); out.Reason {
		case ReasonRemoved:
			found = append(found, Finding{
				Code: FindingInstanceWithoutContext, Subject: i.Context, Fixable: true, inst: i,
				Message: fmt.Sprintf("A running instance has no context %q, or not any more.", i.Context),
				Remedy:  "The context is made again.",
			})
		case ReasonForeign:
			found = append(found, Finding{
				Code: FindingForeignContext, Subject: i.Context,
				Message: fmt.Sprintf("A context %q exists that is not docker rd's, so the instance has none.", i.Context),
				Remedy:  fmt.Sprintf("Rename or remove it (docker context export %[1]s, docker context rm %[1]s), then restart the instance.", i.Context),
			})
		}
	}
	return found
}

// A Fixed says what [Config.Fix] did.
type Fixed struct {
	// Message is a sentence for people.
	Message string `json:"message"`
	// Backup is the copy of what was changed, "" where nothing was overwritten.
	Backup string `json:"backup,omitempty"`
}

// Fix mends a fixable finding of [Config.Doctor], as its Remedy says. What it changes
// is copied beside the original first. A finding that has become untrue meanwhile is
// left as it is.
func (c *Config) Fix(ctx context.Context, f Finding, candidates func() []Owner) (Fixed, error) {
	if !f.Fixable {
		return Fixed{}, fmt.Errorf("%s %q can't be mended without you", f.Code, f.Subject)
	}
	switch f.Code {
	case FindingConfigInterrupted:
		err := configfile.Recover(ctx, f.path)
		return Fixed{Message: fmt.Sprintf("The interrupted change of %s is tidied up.", f.path)}, err
	case FindingCurrentContextMissing:
		return c.fixCurrent(ctx, f, candidates)
	case FindingEngineGone:
		return c.fixEngineGone(ctx, f, candidates)
	case FindingMetadataCorrupt, FindingRecordInvalid:
		return c.moveAside(ctx, f)
	case FindingContextWithoutInstance:
		return c.removeOrphan(ctx, f, candidates)
	case FindingInstanceWithoutContext:
		out := c.Create(ctx, f.inst.Owner, f.inst.Endpoint, f.inst.Description)
		return Fixed{Message: out.Message}, out.Err
	}
	return Fixed{}, fmt.Errorf("unknown finding %q", f.Code)
}

func (c *Config) fixCurrent(ctx context.Context, f Finding, candidates func() []Owner) (Fixed, error) {
	if c.exists(f.Subject) {
		return Fixed{Message: fmt.Sprintf("Context %q exists again.", f.Subject)}, nil
	}
	saved, err := backup(f.path)
	if err != nil {
		return Fixed{}, err
	}
	gone := func(o Owner) bool { return o.Context == f.Subject }
	if out := c.Mend(ctx, gone, candidates); out.Reason == ReasonDemoted {
		return Fixed{out.Message, saved}, nil
	} else if out.Err != nil {
		return Fixed{Backup: saved}, out.Err
	}
	return c.unsetCurrent(ctx, f.Subject, saved)
}

// unsetCurrent makes no context the current one if name still is. saved is the copy of
// config.json, which is not needed otherwise.
func (c *Config) unsetCurrent(ctx context.Context, name, saved string) (Fixed, error) {
	unlock, err := c.lock(ctx)
	if err != nil {
		return Fixed{Backup: saved}, err
	}
	defer unlock()
	changed, err := c.update(ctx, name, "")
	if err != nil {
		return Fixed{Backup: saved}, err
	}
	if !changed {
		_ = os.Remove(saved)
		return Fixed{Message: "The current context was changed meanwhile and stays."}, nil
	}
	return Fixed{"No current context is set any more: docker uses \"default\".", saved}, nil
}

func (c *Config) fixEngineGone(ctx context.Context, f Finding, candidates func() []Owner) (Fixed, error) {
	saved, err := backup(f.path)
	if err != nil {
		return Fixed{}, err
	}
	if f.unset {
		return c.unsetCurrent(ctx, f.Subject, saved)
	}
	out := c.Mend(ctx, func(o Owner) bool { return o == f.inst.Owner }, candidates)
	if !out.Changed {
		_ = os.Remove(saved)
		saved = ""
	}
	return Fixed{out.Message, saved}, out.Err
}

// moveAside renames a damaged file, if it still is one.
func (c *Config) moveAside(ctx context.Context, f Finding) (Fixed, error) {
	unlock, err := c.lock(ctx)
	if err != nil {
		return Fixed{}, err
	}
	defer unlock()
	if f.Code == FindingRecordInvalid {
		_, err = c.readRecord()
	} else {
		var data []byte
		if data, err = os.ReadFile(f.path); err == nil {
			_, err = checkMetadata(data)
		}
	}
	if err == nil || errors.Is(err, os.ErrNotExist) {
		return Fixed{Message: fmt.Sprintf("%s is in order again.", f.path)}, nil
	}
	// Renamed, not copied: root would read through a user's link.
	to, err := writeNew(f.path, nil, 0o600, nil)
	if err != nil {
		return Fixed{}, err
	}
	if err := os.Rename(f.path, to); err != nil {
		return Fixed{}, errors.Join(err, os.Remove(to))
	}
	return Fixed{fmt.Sprintf("%s is moved aside.", f.path), to}, nil
}

func (c *Config) removeOrphan(ctx context.Context, f Finding, candidates func() []Owner) (Fixed, error) {
	archive := store.Export(f.Subject, c.store)
	defer archive.Close()
	data, err := io.ReadAll(archive)
	if err != nil {
		return Fixed{}, err
	}
	info, err := os.Lstat(f.path)
	if err != nil {
		return Fixed{}, err
	}
	// Beside the store, which lists whatever lies within, and named as docker does it.
	saved, err := writeNew(filepath.Join(c.o.Dir, "contexts", f.Subject+".dockercontext"), data, 0o600, info)
	if err != nil {
		return Fixed{}, err
	}
	gone := func(o Owner) bool { return o == f.inst.Owner }
	if out := c.Mend(ctx, gone, candidates); out.Err != nil {
		return Fixed{Backup: saved}, out.Err
	}
	out := c.Remove(ctx, f.inst.Owner)
	if out.Err == nil && out.Reason != ReasonRemoved {
		return Fixed{Backup: saved}, fmt.Errorf("context %q stays: it is the current one, or not docker rd's any more", f.Subject)
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

// writeNew writes data into a new file that is named after path and the time. Of root's,
// it goes to the owner of the file that like describes, if that is not nil.
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

package engine

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"github.com/moby/sys/atomicwriter"

	"github.com/docker-rd/docker-rd/internal/failure"
	"github.com/docker-rd/docker-rd/internal/machine"
	"github.com/docker-rd/docker-rd/lock"
)

// DefaultName is the instance that commands mean when none is named.
const DefaultName = "default"

const instanceSchema = 1

var nameRE = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,30}$`)

// ErrNotExist is matched by the errors for an instance that does not exist.
var ErrNotExist = errors.New("no such instance")

// ErrOtherMachine is matched by the errors for an instance on a shared home that
// belongs to another machine.
var ErrOtherMachine = errors.New("instance belongs to another machine")

// CheckName refuses what cannot be an instance's name. It is called before any path
// is made from a name.
func CheckName(name string) error {
	if nameRE.MatchString(name) {
		return nil
	}
	return failure.WithHint(failure.Refuse("invalid instance name %q", name),
		"a name is 1 to 31 of a-z, 0-9 and '-', and does not begin with '-'")
}

// ContextName returns the Docker context that belongs to the instance of that name.
func ContextName(instance string) string {
	if instance == DefaultName {
		return "rd"
	}
	return "rd-" + instance
}

// An Instance is a named engine as it is remembered: all of it is in instance.json.
type Instance struct {
	SchemaVersion int        `json:"schemaVersion"`
	UID           string     `json:"uid"` // made once, in no other instance
	Name          string     `json:"name"`
	CreatedAt     time.Time  `json:"createdAt"`
	Settings      Settings   `json:"settings"`
	Paths         Paths      `json:"paths"`
	DockerConfig  string     `json:"dockerConfig"` // the Docker configuration directory it was created under
	Machine       machine.ID `json:"machine"`      // the one its files and processes belong to
}

// Context returns the name of the Docker context through which the engine is used:
// the instance's own, or the user's that it was made from.
func (i *Instance) Context() string {
	if i.Settings.FromContext != "" {
		return i.Settings.FromContext
	}
	return ContextName(i.Name)
}

// OwnsContext tells whether the context is the instance's own, to be made and
// removed with it.
func (i *Instance) OwnsContext() bool { return i.Settings.FromContext == "" }

// New returns an instance that is not yet created: nothing is written. The name must
// have passed [CheckName], the settings must be [Settings.Resolved].
func New(roots Roots, name, dockerConfig string, s Settings) *Instance {
	return &Instance{
		SchemaVersion: instanceSchema,
		UID:           rand.Text(),
		Name:          name,
		CreatedAt:     time.Now().UTC().Truncate(time.Second),
		Settings:      s,
		Paths:         newPaths(roots, name),
		DockerConfig:  dockerConfig,
		Machine:       machine.Current(),
	}
}

// Create writes the new instance and makes its directories. Where another process
// was faster, its instance is returned instead, with created false.
func Create(ctx context.Context, i *Instance) (inst *Instance, created bool, err error) {
	release, err := lock.Acquire(ctx, i.Paths.StateLock())
	if err != nil {
		return nil, false, fmt.Errorf("create instance %q: %w", i.Name, err)
	}
	defer release()
	if there, err := read(i.Paths.InstanceFile()); !errors.Is(err, fs.ErrNotExist) {
		return there, false, err
	}
	return i, true, i.write()
}

// Update changes the settings as change says and writes them, if that made a
// difference. Change gets the settings as they are on disk now; its error is
// returned as it is.
func (i *Instance) Update(ctx context.Context, change func(*Settings) error) error {
	release, err := lock.Acquire(ctx, i.Paths.StateLock())
	if err != nil {
		return fmt.Errorf("change instance %q: %w", i.Name, err)
	}
	defer release()
	now, err := read(i.Paths.InstanceFile())
	if err != nil {
		return err
	}
	before := now.Settings
	if err := change(&now.Settings); err != nil {
		return err
	}
	i.Settings = now.Settings
	if before.Equal(now.Settings) {
		return nil
	}
	return now.write()
}

// write replaces instance.json, fsynced. The caller holds the state lock.
func (i *Instance) write() error {
	for _, dir := range []string{i.Paths.State, i.Paths.Data, i.Paths.RequestsDir(), i.Paths.LogDir()} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("instance %q: %w", i.Name, err)
		}
	}
	data, err := json.MarshalIndent(i, "", "  ")
	if err != nil {
		return fmt.Errorf("instance %q: %w", i.Name, err)
	}
	if err := atomicwriter.WriteFile(i.Paths.InstanceFile(), append(data, '\n'), 0o600); err != nil {
		return fmt.Errorf("instance %q: %w", i.Name, err)
	}
	return nil
}

// Load returns the instance of that name. An error matches [ErrNotExist] if there is
// none and [ErrOtherMachine] if it may not be used here.
func Load(roots Roots, name string) (*Instance, error) {
	if err := CheckName(name); err != nil {
		return nil, err
	}
	i, err := LoadDir(roots.instanceDir(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, failure.WithHint(failure.Refuse("instance %q: %w", name, ErrNotExist),
			"docker-rd ls lists the instances; docker-rd start %s makes it", name)
	}
	return i, err
}

// LoadDir returns the instance whose state directory is dir.
func LoadDir(dir string) (*Instance, error) {
	i, err := read(Paths{State: dir}.InstanceFile())
	if err != nil {
		return nil, err
	}
	if here := machine.Current(); i.Machine.ID != here.ID {
		return nil, failure.WithHint(
			failure.Refuse("instance %q: %w: %q", i.Name, ErrOtherMachine, i.Machine.Host),
			"use it there, or set %s to a directory of this machine", HomeEnv)
	}
	return i, nil
}

// read returns the instance as it is in the file.
func read(path string) (*Instance, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	i := &Instance{}
	if err := json.Unmarshal(data, i); err != nil {
		return nil, failure.WithHint(fmt.Errorf("instance file %q is damaged: %w", path, err),
			"bring it back from a backup, or mend it by hand: the uid must be that in state.json")
	}
	if i.SchemaVersion > instanceSchema {
		return nil, failure.WithHint(
			failure.Refuse("instance file %q has schema version %d, this docker-rd knows %d", path, i.SchemaVersion, instanceSchema),
			"use the newer docker-rd")
	}
	return i, nil
}

// Names returns the names of all instances, sorted. They need not be loadable.
func Names(roots Roots) ([]string, error) {
	entries, err := os.ReadDir(filepath.Dir(roots.instanceDir(DefaultName)))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list instances: %w", err)
	}
	var names []string
	for _, e := range entries {
		if !e.IsDir() || CheckName(e.Name()) != nil {
			continue
		}
		if _, err := os.Lstat(Paths{State: roots.instanceDir(e.Name())}.InstanceFile()); err == nil {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

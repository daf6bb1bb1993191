package instance

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"syscall"
	"time"

	"github.com/docker-rd/docker-rd/internal/failure"
	"github.com/docker-rd/docker-rd/internal/files"
	"github.com/docker-rd/docker-rd/internal/machine"
	"github.com/docker-rd/docker-rd/internal/process"
	"github.com/docker-rd/docker-rd/lock"
)

// DefaultName is the instance that commands mean when none is named.
const DefaultName = "default"

const instanceSchema = 1

// nameRE does not bound the length: to compile that would cost every command.
var nameRE = regexp.MustCompile(`^[a-z0-9][a-z0-9-]*$`)

const maxName = 31

// CheckName refuses what can't be an instance's name. Call it before a path is made from a name.
func CheckName(name string) error {
	if len(name) <= maxName && nameRE.MatchString(name) {
		return nil
	}
	return failure.WithHint(failure.Refuse("invalid instance name %q", name),
		"a name is 1 to 31 of a-z, 0-9 and '-', and does not begin with '-'")
}

// ContextName returns the name of the Docker context of an instance.
func ContextName(instance string) string {
	if instance == DefaultName {
		return "rd"
	}
	return "rd-" + instance
}

// An Instance is a named engine, as stored in instance.json.
type Instance struct {
	SchemaVersion int        `json:"schemaVersion"`
	UID           string     `json:"uid"` // made once, unique
	Name          string     `json:"name"`
	CreatedAt     time.Time  `json:"createdAt"`
	Settings      Settings   `json:"settings"`
	Paths         Paths      `json:"paths"`
	DockerConfig  string     `json:"dockerConfig"` // the Docker configuration directory it was created under
	Machine       machine.ID `json:"machine"`      // the one its files and processes belong to
}

// Context returns the name of the Docker context through which the engine is used:
// the instance's own, or the user's that it was made from; "" where there is none.
func (i *Instance) Context() string {
	if i.Settings.Engine == KindContainerd { // which docker can't use
		return ""
	}
	if i.Settings.FromContext != "" {
		return i.Settings.FromContext
	}
	return ContextName(i.Name)
}

// OwnsContext reports whether the context is the instance's own, made and removed with it.
func (i *Instance) OwnsContext() bool { return i.Settings.FromContext == "" && i.Context() != "" }

// Socket returns the path of the socket at which the engine is reached.
func (i *Instance) Socket() string {
	if i.Settings.Engine == KindContainerd {
		return i.Paths.containerdSocket()
	}
	return i.Paths.Socket()
}

// New returns an instance to be created; it writes nothing. The name must have passed [CheckName],
// the settings must be [Settings.Resolved].
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

// Create writes the new instance and makes its directories. If another process was faster, it
// returns that one's instance, and created is false. Ctx bounds the wait for the lock.
func Create(ctx context.Context, i *Instance) (inst *Instance, created bool, err error) {
	defer func() {
		if errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS) {
			err = failure.WithHint(err, "set %s to a directory that can be written", HomeEnv)
		}
	}()
	release, err := i.lockNew(ctx)
	if err != nil {
		return nil, false, fmt.Errorf("create instance %q: %w", i.Name, err)
	}
	there, err := read(i.Paths)
	if !errors.Is(err, fs.ErrNotExist) {
		release()
		return there, false, err
	}
	if err = i.write(); err != nil {
		i.unmake()
	}
	release()
	if err != nil {
		_ = files.Remove(i.Paths.State) // on Windows, only after the lock's release
		return nil, false, err
	}
	return i, true, nil
}

// lockNew takes the state lock of an instance that may not exist yet. While a former one is being
// removed, it tries again.
func (i *Instance) lockNew(ctx context.Context) (release func(), err error) {
	const attempts = 100
	for range attempts {
		if err = os.MkdirAll(i.Paths.State, 0o700); err == nil {
			release, err = lock.Acquire(ctx, i.Paths.StateLock())
		}
		// MkdirAll fails with ErrExist where the directory is removed at the same moment.
		if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrExist) {
			break
		}
	}
	return release, err
}

// unmake removes what a failed [Instance.write] has left: no directory with other files. The
// caller holds the state lock.
func (i *Instance) unmake() {
	if _, err := os.Lstat(i.Paths.InstanceFile()); err == nil {
		return
	}
	for _, path := range []string{i.Paths.RequestsDir(), i.Paths.LogDir(), i.Paths.Data, i.Paths.StateLock(), i.Paths.State} {
		_ = files.Remove(path)
	}
}

// Update changes the settings on the disk by change, and then i's, too. Equal settings are not
// written. An error of change is returned as it is, and nothing has changed then. Ctx bounds the
// wait for the lock.
func (i *Instance) Update(ctx context.Context, change func(*Settings) error) error {
	release, err := lock.Acquire(ctx, i.Paths.StateLock())
	if errors.Is(err, fs.ErrNotExist) {
		return noInstance(i.Name) // somebody has removed it
	}
	if err != nil {
		return fmt.Errorf("change instance %q: %w", i.Name, err)
	}
	defer release()
	now, err := read(i.Paths)
	if errors.Is(err, fs.ErrNotExist) {
		return noInstance(i.Name)
	}
	if err != nil {
		return err
	}
	before := now.Settings
	if err := change(&now.Settings); err != nil {
		return err
	}
	if !before.Equal(now.Settings) {
		if err := now.write(); err != nil {
			return err
		}
	}
	i.Settings = now.Settings
	return nil
}

// write replaces instance.json, fsynced. The caller holds the state lock.
func (i *Instance) write() error {
	for _, dir := range []string{i.Paths.State, i.Paths.Data, i.Paths.RequestsDir(), i.Paths.LogDir()} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("instance %q: %w", i.Name, err)
		}
	}
	if err := files.ReplaceJSONSynced(i.Paths.InstanceFile(), i); err != nil {
		return fmt.Errorf("instance %q: %w", i.Name, err)
	}
	// The copy is for settings that somebody damages, not for a crash: it needs no fsync, which
	// would cost each first start milliseconds.
	if err := files.ReplaceJSON(i.Paths.InstanceBackup(), i); err != nil {
		return fmt.Errorf("instance %q: %w", i.Name, err)
	}
	return nil
}

// Load returns the instance of that name. The error is a [*NotExistError] if there is none, a refusal
// if it may not be used here, and a [*DamagedError] if its settings are damaged.
func Load(roots Roots, name string) (*Instance, error) {
	if err := CheckName(name); err != nil {
		return nil, err
	}
	i, err := LoadDir(roots.instanceDir(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, noInstance(name)
	}
	return i, err
}

func noInstance(name string) error {
	return failure.WithCode(&NotExistError{name}, failure.CodeRefused)
}

// LoadDir returns the instance with the state directory dir. Its errors are the same as of [Load].
func LoadDir(dir string) (*Instance, error) {
	i, err := read(Paths{State: dir})
	if damaged, ok := errors.AsType[*DamagedError](err); ok && damaged.Backup != nil {
		if err := damaged.Backup.checkMachine(); err != nil {
			return nil, err
		}
	}
	if err != nil {
		return nil, err
	}
	return i, i.checkMachine()
}

// Salvage passes on what [Load] or [LoadDir] returned, but replaces damaged settings by their
// copy, if there is one. That is good enough to observe, stop and remove the instance.
func Salvage(i *Instance, err error) (*Instance, error) {
	if damaged, ok := errors.AsType[*DamagedError](err); ok && damaged.Backup != nil {
		return damaged.Backup, nil
	}
	return i, err
}

// checkMachine refuses an instance of another machine.
func (i *Instance) checkMachine() error {
	here := machine.Current()
	if i.Machine.ID == here.ID || i.runsHere() {
		return nil
	}
	return failure.WithHint(failure.Refuse("instance %q belongs to another machine: %q", i.Name, i.Machine.Host),
		"use it there, or set %s to a directory of this machine; if this machine has only got a new id: set machine.id to %q in %s and its backup",
		HomeEnv, here.ID, i.Paths.InstanceFile())
}

// runsHere reports whether the instance's engine runs in this boot. Then the machine's id has
// changed since, and a stop must be possible.
func (i *Instance) runsHere() bool {
	_, ok := i.EngineProcess()
	return ok
}

// EngineProcess returns the process of the instance's engine, if it is known and alive.
func (i *Instance) EngineProcess() (process.ID, bool) {
	var record struct{ Engine process.ID }
	if files.ReadJSON(i.Paths.EngineFile(), &record) != nil {
		return process.ID{}, false
	}
	return record.Engine, record.Engine.Alive()
}

// read reads the instance's file. The error matches [fs.ErrNotExist] if neither the file nor its
// copy exists.
func read(p Paths) (*Instance, error) {
	i, err := readFile(p.InstanceFile())
	if err == nil {
		return i, checkSchema(p.InstanceFile(), i)
	}
	backup, backupErr := readFile(p.InstanceBackup())
	if backupErr == nil && errors.Is(err, fs.ErrNotExist) { // or the instance was made in between
		if i, again := readFile(p.InstanceFile()); again == nil {
			return i, checkSchema(p.InstanceFile(), i)
		}
	}
	pathErr, unread := errors.AsType[*fs.PathError](err)
	if missing := errors.Is(err, fs.ErrNotExist); unread && (!missing || errors.Is(backupErr, fs.ErrNotExist)) {
		return nil, pathErr
	}
	if backupErr != nil || checkSchema(p.InstanceBackup(), backup) != nil {
		backup = nil
	}
	return nil, &DamagedError{Path: p.InstanceFile(), Err: err, Backup: backup}
}

func readFile(path string) (*Instance, error) {
	i := &Instance{}
	if err := files.ReadJSON(path, i); err != nil {
		return nil, err
	}
	if i.UID == "" || i.Paths.State == "" || i.Paths.Data == "" || i.Paths.Runtime == "" {
		return nil, errors.New("the uid or a path is missing in it")
	}
	if name := filepath.Base(filepath.Dir(path)); i.Name != name {
		return nil, fmt.Errorf("it is that of instance %q", i.Name)
	}
	return i, nil
}

func checkSchema(path string, i *Instance) error {
	if i.SchemaVersion <= instanceSchema {
		return nil
	}
	return failure.WithHint(failure.Refuse("instance file %q has schema version %d, this docker-rd knows %d", path, i.SchemaVersion, instanceSchema),
		"use the newer docker-rd")
}

// Names returns the names of all instances, sorted, with those that are damaged or can't be looked at.
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
		p := Paths{State: roots.instanceDir(e.Name())}
		for _, path := range []string{p.InstanceFile(), p.InstanceBackup()} {
			if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
				names = append(names, e.Name())
				break
			}
		}
	}
	return names, nil
}

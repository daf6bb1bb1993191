package instance

import (
	"fmt"
	"path/filepath"

	"github.com/docker-rd/docker-rd/internal/files"
)

// startedFile has the settings that the running engine was started with.
func (p Paths) startedFile() string { return filepath.Join(p.State, "started.json") }

// RecordStarted stores the settings as those that the engine was started with.
func (i *Instance) RecordStarted() error {
	if err := files.ReplaceJSONSynced(i.Paths.startedFile(), i.Settings); err != nil {
		return fmt.Errorf("instance %q: record what it was started with: %w", i.Name, err)
	}
	return nil
}

// ForgetStarted undoes [Instance.RecordStarted]: no engine runs any more.
func (i *Instance) ForgetStarted() error { return files.RemoveAll(i.Paths.startedFile()) }

// Started returns the settings that the engine, which runs, was started with: those that it
// has now where nothing else is recorded, or where they hold at once.
func (i *Instance) Started() Settings {
	s := Settings{}
	if files.ReadJSON(i.Paths.startedFile(), &s) != nil {
		return i.Settings
	}
	s.TakeLive(i.Settings)
	return s
}

// Pending returns the settings that wait for a restart of the running engine, as KEY=VALUE.
func (i *Instance) Pending() []string { return i.Started().Diff(i.Settings) }

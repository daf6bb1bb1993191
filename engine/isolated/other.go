//go:build !linux

package isolated

import (
	"context"

	"github.com/docker-rd/docker-rd/engine/processes"
	"github.com/docker-rd/docker-rd/internal/failure"
	"github.com/docker-rd/docker-rd/internal/process"
)

func refuse() error {
	return failure.WithHint(failure.Refuse("the dockerd driver runs on Linux only"),
		"adopt an engine: `--driver existing`")
}

// Check refuses on this system.
func (*Config) Check() []error { return []error{refuse()} }

// Start refuses on this system.
func (*Config) Start(context.Context) (*Engine, error) { return nil, refuse() }

// Adopt finds no engine on this system.
func (*Config) Adopt(context.Context) (*Engine, error) { return nil, ErrNotRunning }

// Cleanup has nothing to do on this system.
func (*Config) Cleanup(context.Context) ([]string, error) { return nil, nil }

// Life finds nothing on this system.
func (*Config) Life() processes.Life { return processes.Gone }

// SetLimits refuses on this system.
func (*Config) SetLimits(Limits) error { return refuse() }

// UserLimits knows of none on this system.
func UserLimits(*Config) []error { return nil }

// RemoveAsUser refuses on this system.
func RemoveAsUser(string) error { return refuse() }

// An Engine does not exist on this system.
type Engine struct{}

func (*Engine) ID() process.ID          { return process.ID{} }
func (*Engine) Exited() <-chan struct{} { return nil }
func (*Engine) LastError() string       { return "" }

// Problems returns none.
func (*Engine) Problems() ([]processes.Problem, <-chan struct{}) { return nil, nil }
func (*Engine) Stop(context.Context) ([]string, error)           { return nil, nil }
func (*Engine) Release()                                         {}

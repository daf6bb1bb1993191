//go:build !linux

package engine

import (
	"context"
	"log/slog"

	"github.com/docker-rd/docker-rd/instance"
	"github.com/docker-rd/docker-rd/internal/endpoint"
	"github.com/docker-rd/docker-rd/internal/failure"
)

// RunHelper does nothing: the helpers are for Linux.
func RunHelper() {}

// onlyLinux stands for the drivers DriverDockerd and DriverRootless where they can't run.
type onlyLinux struct{}

func newIsolated(*instance.Instance, *slog.Logger) (onlyLinux, error) { return onlyLinux{}, nil }

func (onlyLinux) refuse() error {
	return failure.WithHint(failure.Refuse("the dockerd driver runs on Linux only"),
		"adopt an engine: `--driver existing`")
}

func (d onlyLinux) Check() []error                                     { return []error{d.refuse()} }
func (d onlyLinux) Start(context.Context) (Running, error)             { return nil, d.refuse() }
func (d onlyLinux) Endpoint() (endpoint.Endpoint, error)               { return endpoint.Endpoint{}, d.refuse() }
func (d onlyLinux) LocalHost() (string, error)                         { return "", d.refuse() }
func (onlyLinux) Adopt(context.Context) (Running, error)               { return nil, nil }
func (onlyLinux) Life() Life                                           { return Gone }
func (onlyLinux) Cleanup(context.Context) (killed []string, err error) { return nil, nil }

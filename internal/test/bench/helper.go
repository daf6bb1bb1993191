//go:build linux

package main

import (
	"errors"
	"fmt"
	"slices"
	"testing"
)

// A helper lets what is made for tests work here.
type helper struct {
	testing.TB
	cleanups []func()
	failed   []error
}

type helperFailed string

func (*helper) Helper()                           {}
func (h *helper) Cleanup(f func())                { h.cleanups = append(h.cleanups, f) }
func (*helper) Fatal(args ...any)                 { panic(helperFailed(fmt.Sprint(args...))) }
func (*helper) Fatalf(format string, args ...any) { panic(helperFailed(fmt.Sprintf(format, args...))) }
func (h *helper) Errorf(format string, args ...any) {
	h.failed = append(h.failed, fmt.Errorf(format, args...))
}

// end cleans up, and has err say what has failed. It is to be deferred.
func (h *helper) end(err *error) {
	if p := recover(); p != nil {
		failed, ok := p.(helperFailed)
		if !ok {
			panic(p)
		}
		*err = errors.New(string(failed))
	}
	for _, f := range slices.Backward(h.cleanups) {
		f()
	}
	*err = errors.Join(append([]error{*err}, h.failed...)...)
}

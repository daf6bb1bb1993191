//go:build !windows

// Package wine tells tests whether Windows is wine, which differs from it in ways that
// tests may name.
package wine

import "testing"

// Is reports whether this Windows is wine.
func Is() bool { return false }

// Skip skips a test that wine fails and Windows should not, with the reason.
func Skip(testing.TB, string) {}

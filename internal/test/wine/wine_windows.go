// Package wine tells tests whether Windows is wine, which differs from it in ways that
// tests may name.
package wine

import (
	"testing"

	"golang.org/x/sys/windows"
)

// Is reports whether this Windows is wine.
func Is() bool {
	return windows.NewLazySystemDLL("ntdll.dll").NewProc("wine_get_version").Find() == nil
}

// Skip skips a test that wine fails and Windows should not, with the reason.
func Skip(t testing.TB, reason string) {
	t.Helper()
	if Is() {
		t.Skip("wine: " + reason)
	}
}

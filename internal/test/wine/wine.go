// Package wine has what the tests leave out on Windows and under wine, and why.
package wine

import (
	"strings"
	"testing"
)

// leftOut are tests that are not run on Windows, or only under wine are not.
var leftOut = map[string]string{
	"TestRemovedWhileWaiting":    lateRemoval,
	"TestRemovedForGood":         lateRemoval,
	"TestRemovedWhileHeld":       lateRemoval,
	"TestDirectoryRemovedBeside": lateRemoval,
	"TestContainerdContainer":    "a containerd runs on Linux alone",
	"TestReadersSeeWholeStates":  onlyWine + "a file that is open is not replaced",
	"TestVersions":               onlyWine + "a file that is open is not replaced",
	"TestRequestsRemoved":        "a watched directory is not moved; under wine its removal is not reported either",
	"TestFollow":                 onlyWine + "the removal of a watched directory is not reported",
	"TestErrorURL":               onlyWine + "there are no unix sockets",
	"TestPipe":                   onlyWine + "a request over a pipe that the same process serves hangs",
	"TestDisplacedOddities":      onlyWine + "a symbolic link is made, but can't be read",
	"TestCannotSettle":           "there are no leases, under which a change is made again",
	"TestStress":                 "it takes long",
	"FuzzShellQuote":             "there is no sh",
}

const (
	onlyWine    = "wine: "
	lateRemoval = onlyWine + "the name of a locked file goes when the lock does"
)

// Scripts are commands of scripts that Windows has no way for, as regular expressions, and why.
// Scripts with them are left out, and those that run programs which are not there.
var Scripts = map[string]string{
	"signal (?:STOP|CONT|TERM|INT)": "there are no signals",
	"chmod":                         "modes do not keep anybody from writing",
	"tls":                           "the test does not serve TLS there",
	"exec find":                     "Windows's find is another program",
	"stdout .*the socket":           "a message about a unix socket",
}

// Skip skips a test, or the rest of one, that is left out here, with the reason. It must be in the
// table.
func Skip(t testing.TB) {
	t.Helper()
	name, _, _ := strings.Cut(t.Name(), "/")
	why, ok := leftOut[name]
	switch {
	case !ok:
		t.Fatal("internal/test/wine has no reason to leave it out")
	case windows && (Is() || !strings.HasPrefix(why, onlyWine)):
		t.Skip(why)
	}
}

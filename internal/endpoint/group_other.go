//go:build !linux && !windows

package endpoint

// awaitExit is not possible here: waitid(2) on macOS also returns for a child that stopped
// (https://go.dev/issue/19314).
func awaitExit(int) bool { return false }

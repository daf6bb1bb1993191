//go:build !linux

package commands

// runBySh can't be found out here.
func runBySh() bool { return false }

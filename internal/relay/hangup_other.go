//go:build !linux

package relay

import "net"

// awaitHangUp is not possible on this system. The engine knows that the client sends nothing more,
// and ends everything that is not a stream of its own.
func awaitHangUp(net.Conn) bool { return false }

// hungUp assumes that the other side has closed a connection that has failed.
func hungUp(net.Conn) bool { return true }

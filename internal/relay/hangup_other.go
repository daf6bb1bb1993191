//go:build !linux

package relay

import "net"

// awaitHangUp can't be had on this system. The engine has heard that the client says
// nothing more, and ends by that whatever is not a stream of its own.
func awaitHangUp(net.Conn) bool { return false }

// hungUp takes a connection that has failed for one that the other side has closed.
func hungUp(net.Conn) bool { return true }

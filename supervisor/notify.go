package supervisor

import (
	"net"
	"os"
)

// A notifier tells a process manager how its service is, as sd_notify(3) describes. The zero
// notifier tells nobody.
type notifier struct{ socket string }

// newNotifier returns the notifier for who started this process. What this process starts
// itself has nobody to tell.
func newNotifier() notifier {
	const env = "NOTIFY_SOCKET"
	n := notifier{os.Getenv(env)}
	_ = os.Unsetenv(env)
	return n
}

// tell sends assignments such as "READY=1". Who does not listen misses it.
func (n notifier) tell(assignments string) {
	if n.socket == "" {
		return
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: n.socket, Net: "unixgram"})
	if err != nil {
		return
	}
	defer conn.Close()
	_, _ = conn.Write([]byte(assignments))
}

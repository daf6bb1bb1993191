package supervisor

import (
	"fmt"
	"net"
	"os"
	"time"
)

// A notifier notifies a process manager, as sd_notify(3) describes. The zero notifier does
// nothing.
type notifier struct{ socket string }

// newNotifier returns the notifier for the process manager that started this process. Child
// processes do not inherit it.
func newNotifier() notifier {
	const env = "NOTIFY_SOCKET"
	n := notifier{os.Getenv(env)}
	_ = os.Unsetenv(env)
	return n
}

// extendTimeout asks for as long as the containers have to stop, and a while for what follows.
func (n notifier) extendTimeout(grace time.Duration) {
	const rest, longest = time.Minute, 24 * time.Hour
	n.send(fmt.Sprintf("EXTEND_TIMEOUT_USEC=%d", (min(grace, longest) + rest).Microseconds()))
}

// send sends an assignment such as "READY=1", if anybody listens.
func (n notifier) send(assignment string) {
	if n.socket == "" {
		return
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: n.socket, Net: "unixgram"})
	if err != nil {
		return
	}
	defer conn.Close()
	_, _ = conn.Write([]byte(assignment))
}

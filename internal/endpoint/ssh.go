package endpoint

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// sshFlags make ssh, and every ssh that it starts (see guarded), safe without a user. Otherwise the
// user's ssh_config(5) applies.
var sshFlags = []string{
	"-T",                  // no terminal
	"-o", "BatchMode=yes", // ask nothing
	"-o", "ControlMaster=no", // leave no master connection (an existing one is used)
	"-o", "StrictHostKeyChecking=yes", // these three: known_hosts stays as it is
	"-o", "UpdateHostKeys=no",
	"-o", "CheckHostIP=no",
	"-o", "ClearAllForwardings=yes", // the user's forwarded ports belong to his sessions
	"-o", "PermitLocalCommand=no",
	"-o", "AddKeysToAgent=no", // nor does the agent learn anything
	"-o", "ConnectTimeout=30",
	"-o", "ServerAliveInterval=15", // a connection that is half open ends within a minute
	"-o", "ServerAliveCountMax=3",
}

// ErrSSHMissing says that there is no ssh program.
var ErrSSHMissing = errors.New("ssh program not found")

// ErrSSHOnward says that the docker on the other side would itself use ssh. That may lead back
// here, so it is not followed.
var ErrSSHOnward = errors.New("the docker on the other side goes on over ssh")

// ErrSSHNoise says that something was printed on the other side before the engine's answer, such as
// by a file that the login shell reads.
var ErrSSHNoise = errors.New("the login on the other side prints text where the engine answers")

// An SSHError says how ssh ended.
type SSHError struct {
	// Status is its exit status: 255 for failures of its own, else the remote
	// command's; -1 if a signal ended it.
	Status int
	// Message is the end of what it printed to standard error, such as
	// "Host key verification failed."
	Message string
}

func (e *SSHError) Error() string {
	if e.Message == "" {
		return fmt.Sprintf("ssh exited with status %d", e.Status)
	}
	return fmt.Sprintf("ssh exited with status %d: %s", e.Status, e.Message)
}

// Local reports whether ssh itself has failed, not the remote command.
func (e *SSHError) Local() bool {
	const own = 255 // ssh(1)
	return e.Status == own || e.Status < 0
}

// Cause returns the lines of the message that say why ssh has failed. After those of a jump host
// there are lines about the connection that it has not made.
func (e *SSHError) Cause() string {
	lines := strings.Split(strings.TrimSpace(e.Message), "\n")
	end := len(lines)
	for end > 0 && isClosing(lines[end-1]) {
		end--
	}
	if end == 0 || !isCause(lines[end-1]) {
		end = len(lines)
	}
	const enough = 2
	return strings.Join(lines[max(0, end-enough):end], "\n")
}

// Dropped reports whether the server has closed the connection before the login, as sshd does with
// some of many at a time (MaxStartups in sshd_config(5)). It may accept the next one.
func (e *SSHError) Dropped() bool {
	if !e.Local() || !strings.Contains(e.Message, "exchange_identification: ") {
		return false
	}
	lines := strings.Split(e.Cause(), "\n")
	return isClosing(lines[len(lines)-1]) && slices.ContainsFunc(strings.Split(e.Message, "\n"), closedByServer)
}

// isClosing reports whether a line says only that the connection was closed.
func isClosing(line string) bool {
	line = strings.TrimSpace(line)
	return strings.HasPrefix(line, "kex_exchange_identification: ") || strings.HasPrefix(line, "ssh_exchange_identification: ") ||
		strings.HasPrefix(line, "Connection closed by ") || strings.HasPrefix(line, "Connection reset by ")
}

// closedByServer reports whether a line names the server that has closed the connection: after a
// ProxyCommand it does not.
func closedByServer(line string) bool {
	line = strings.TrimSpace(line)
	return isClosing(line) && strings.Contains(line, " port ") && !strings.Contains(line, " UNKNOWN port ")
}

// isCause reports whether a line says why ssh has failed.
func isCause(line string) bool {
	return slices.ContainsFunc([]string{
		"verification failed", "Permission denied", "Too many authentication failures", "ssh: ", "forwarding failed", "onnection refused", "timed out",
	}, func(words string) bool { return strings.Contains(line, words) })
}

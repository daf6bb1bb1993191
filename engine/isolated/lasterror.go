package isolated

import (
	"regexp"
	"strings"

	"github.com/docker-rd/docker-rd/internal/logfile"
)

// maxLog is how much of a log's end is read for the last error.
const maxLog = 256 << 10

// lastErrorIn returns the engine's last error in the log at path, from offset on (from the
// beginning if the log was rotated since), or "".
func lastErrorIn(path string, offset int64) string {
	text, cut := logfile.Since(path, offset, maxLog)
	if _, rest, ok := strings.Cut(text, "\n"); ok && cut {
		text = rest
	}
	return parseLastError(text)
}

// parseLastError finds the line of a dockerd's log that says why it ended. That is
// the last one it wrote outside of its log (dockerd prints the error it ends with
// plainly: "failed to start daemon: …", "unknown flag: --x"); else the last with
// level fatal; else the last with level error; else that it printed its help. The output of a
// program that failed, such as iptables, makes such an error several lines long.
func parseLastError(log string) string {
	var plain, fatal, level, usage string
	open := false  // after an error that may go on in the next line
	help := false  // within dockerd's help, which it prints below a wrong argument
	stack := false // within the stacks of Go's goroutines, which end a program that panics
	for line := range strings.Lines(log) {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		fields := logfile.Fields(line)
		ok := fields["level"] != "" && (strings.HasPrefix(line, "time=") || strings.HasPrefix(line, "{"))
		if ok && fields["msg"] == "" && strings.HasSuffix(line, noSpace) {
			// The disk was full: this follows the beginning of a line that had no more room.
			plain = noSpace
			continue
		}
		if !ok {
			if strings.HasPrefix(line, "Usage:") {
				// dockerd 28 has no other word for an argument that is no option.
				help, usage = true, "dockerd prints its help, since it does not take an argument that it was given"
			}
			switch begins := strings.HasPrefix(line, startFailed); {
			case help || stack || isNoise(line):
			case strings.HasPrefix(line, fatalError) && strings.HasPrefix(plain, "runtime: "):
				// Go has said why: "may need to increase max user processes (ulimit -u)".
			case open && !begins:
				plain += " " + line
			default:
				plain, open = trimStatus(line), begins
			}
			stack = stack || strings.HasPrefix(line, "panic: ") || strings.HasPrefix(line, fatalError)
			continue
		}
		help, stack, open = false, false, false
		msg := fields["msg"]
		if err := fields["error"]; err != "" && !strings.Contains(msg, err) {
			msg += ": " + err
		}
		switch fields["level"] {
		case "fatal", "panic":
			fatal = msg
		case "error":
			if !isContainerd(fields) {
				level = msg
			}
		}
	}
	for _, s := range []string{plain, fatal, level, usage} {
		if s != "" {
			return s
		}
	}
	return ""
}

// fatalError begins the last words of a Go program that can't go on.
const fatalError = "fatal error: "

// startFailed begins the error with which a dockerd ends.
const startFailed = "failed to start daemon: "

// noSpace is how a write to a full disk fails.
const noSpace = "no space left on device"

// statusCode is what follows an error that docker's command line code prints with its
// exit status: "Status: unknown flag: --x, Code: 125", on one line or on several.
var statusCode = regexp.MustCompile(`, Code: \d+$`)

func trimStatus(line string) string {
	rest, ok := strings.CutPrefix(line, "Status: ")
	if !ok {
		return line
	}
	return statusCode.ReplaceAllString(rest, "")
}

// isNoise reports whether a plain line belongs to a longer output whose first line
// says it all: the pointer to the help below a wrong flag, the end of a Go stack.
func isNoise(line string) bool {
	for _, prefix := range []string{"See 'dockerd --help'", "created by ", "/"} {
		if strings.HasPrefix(line, prefix) {
			return true
		}
	}
	return strings.HasPrefix(line, "Run 'dockerd --help'")
}

// isContainerd reports whether a line is containerd's, which logs failed optional
// plugins as errors, and that it can't watch for a lack of memory without control groups,
// or about containerd's end, which follows any failed start.
func isContainerd(fields map[string]string) bool {
	if fields["module"] == "libcontainerd" || strings.HasPrefix(fields["type"], "io.containerd.") {
		return true
	}
	for _, prefix := range []string{"failed to load cni", "add cg to OOM monitor", "containerd did not exit successfully"} {
		if strings.HasPrefix(fields["msg"], prefix) {
			return true
		}
	}
	return false
}

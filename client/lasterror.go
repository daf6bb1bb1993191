package client

import (
	"bufio"
	"regexp"
	"strconv"
	"strings"

	"github.com/docker-rd/docker-rd/internal/files"
)

// errorField is the error in a line of the supervisor's log.
var errorField = regexp.MustCompile(`^time=.* error=("(?:[^"\\]|\\.)*"|\S+)$`)

// lastError returns what the last line of a supervisor's log tells, without the form of
// the log; "" if there is none.
func lastError(path string) string {
	line := lastLine(path)
	m := errorField.FindStringSubmatch(line)
	switch {
	case m == nil && strings.HasPrefix(line, "time="):
		return "" // the disk was full
	case m == nil:
		return line // written before there was a logger
	}
	if words, err := strconv.Unquote(m[1]); err == nil {
		return words
	}
	return m[1]
}

// lastLine returns the last line of a file that is not empty, "" if there is none.
func lastLine(path string) string {
	file, err := files.Open(path)
	if err != nil {
		return ""
	}
	defer file.Close()
	const tail = 8 << 10
	if info, err := file.Stat(); err == nil && info.Size() > tail {
		_, _ = file.Seek(-tail, 2)
	}
	last := ""
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if line := strings.TrimSpace(lines.Text()); line != "" {
			last = line
		}
	}
	return last
}

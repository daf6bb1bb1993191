package commands

import (
	"bytes"
	"io"
	"os"
	"regexp"
	"strings"
)

// tailOf returns a function that returns the last line that was added to a log since now, ""
// if there is none.
func tailOf(path string) func() string {
	var begin int64
	if info, err := os.Stat(path); err == nil {
		begin = info.Size()
	}
	return func() string {
		file, err := os.Open(path)
		if err != nil {
			return ""
		}
		defer file.Close()
		const enough = 4 << 10
		info, err := file.Stat()
		if err != nil {
			return ""
		}
		if info.Size() < begin {
			begin = 0 // it was rotated
		}
		from := max(begin, info.Size()-enough)
		data, err := io.ReadAll(io.NewSectionReader(file, from, info.Size()-from))
		if err != nil {
			return ""
		}
		lines := bytes.Split(bytes.TrimSpace(data), []byte("\n"))
		return logMessage(string(lines[len(lines)-1]))
	}
}

// logfmt finds the message in a line of dockerd's.
var logfmt = regexp.MustCompile(`\bmsg=("(?:[^"\\]|\\.)*"|\S+)`)

func logMessage(line string) string {
	m := logfmt.FindStringSubmatch(line)
	if m == nil {
		return strings.TrimSpace(line)
	}
	return strings.Trim(strings.ReplaceAll(m[1], `\"`, `"`), `"`)
}

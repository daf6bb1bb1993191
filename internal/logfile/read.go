package logfile

import (
	"bytes"
	"cmp"
	"encoding/json"
	"io"
	"regexp"
	"strings"

	"github.com/docker-rd/docker-rd/internal/files"
)

// Since returns what was written to the log at path from an offset on, or from its beginning if the
// log was rotated since; of that at most so many bytes of its end. Cut reports whether something is
// left out before them, which may be a part of the first line. If the log can't be read, there is
// nothing.
func Since(path string, offset, most int64) (text string, cut bool) {
	file, err := files.Open(path)
	if err != nil {
		return "", false
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return "", false
	}
	if info.Size() < offset {
		offset = 0
	}
	if cut = info.Size()-offset > most; cut {
		offset = info.Size() - most
	}
	data, err := io.ReadAll(io.NewSectionReader(file, offset, most))
	if err != nil {
		return "", false
	}
	return string(data), cut
}

// field finds a field in a line of dockerd's or limactl's (github.com/sirupsen/logrus).
var field = regexp.MustCompile(`\b([\w-]+)=("(?:[^"\\]|\\.)*"|[^"\s]\S*)`)

// Fields returns the fields of a line of a log, in logrus's text or JSON format; none of a line of
// another form. In a text, line ends stay escaped.
func Fields(line string) map[string]string {
	fields := map[string]string{}
	if strings.HasPrefix(line, "{") {
		var values map[string]any
		_ = json.Unmarshal([]byte(line), &values)
		for name, value := range values {
			if text, ok := value.(string); ok {
				fields[name] = text
			}
		}
		return fields
	}
	for _, m := range field.FindAllStringSubmatch(line, -1) {
		name, value := m[1], m[2]
		if value[0] == '"' {
			value = strings.ReplaceAll(value[1:len(value)-1], `\"`, `"`)
		}
		fields[name] = value
	}
	return fields
}

// Parse returns the level and the message in a line of a log; a line of another form is a message
// without a level.
func Parse(line string) (level, message string) {
	fields := Fields(line)
	if message, ok := fields["msg"]; ok {
		return fields["level"], message
	}
	return "", strings.TrimSpace(line)
}

// A LineWriter is an [io.Writer] that passes on what is written to it line by line.
type LineWriter struct {
	// Line is called with each whole line and its end. Its error is Write's.
	Line func(line []byte) error
	// Max is how many bytes of a line are passed on at once, 0 for a MiB: a longer line comes in
	// parts.
	Max int

	rest []byte // of the last line, which has no end yet
}

// Write implements [io.Writer].
func (w *LineWriter) Write(p []byte) (int, error) {
	most := cmp.Or(w.Max, 1<<20)
	seen := len(w.rest) // so far there is no end
	w.rest = append(w.rest, p...)
	for {
		end := seen + bytes.IndexByte(w.rest[seen:], '\n') + 1
		if end == seen && len(w.rest) < most {
			return len(p), nil
		}
		if end == seen || end > most {
			end = most
		}
		line := w.rest[:end]
		w.rest, seen = w.rest[end:], 0
		if err := w.Line(line); err != nil {
			return 0, err
		}
	}
}

// Flush passes on a last line that has no end, if there is one.
func (w *LineWriter) Flush() error {
	if len(w.rest) == 0 {
		return nil
	}
	line := w.rest
	w.rest = nil
	return w.Line(line)
}

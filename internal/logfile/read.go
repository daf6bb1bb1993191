package logfile

import (
	"bytes"
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

// logrus finds level and message in a line of dockerd's or limactl's (github.com/sirupsen/logrus).
var logrus = regexp.MustCompile(`(?:\blevel=(\w+) )?\bmsg=("(?:[^"\\]|\\.)*"|\S+)`)

// Parse returns the level and the message in a line of a log, on one line; a line of another form is
// a message without a level.
func Parse(line string) (level, message string) {
	m := logrus.FindStringSubmatch(line)
	if m == nil {
		return "", strings.TrimSpace(line)
	}
	return m[1], strings.Trim(strings.ReplaceAll(m[2], `\"`, `"`), `"`)
}

// A LineWriter is an [io.Writer] that passes on what is written to it line by line.
type LineWriter struct {
	// Line is called with each whole line and its end. Its error is Write's.
	Line func(line []byte) error

	rest []byte // of the last line, which has no end yet
}

// Write implements [io.Writer].
func (w *LineWriter) Write(p []byte) (int, error) {
	w.rest = append(w.rest, p...)
	for {
		end := bytes.IndexByte(w.rest, '\n') + 1
		if end == 0 {
			return len(p), nil
		}
		line := w.rest[:end]
		w.rest = w.rest[end:]
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

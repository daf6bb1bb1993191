package commands

import (
	"errors"
	"io"
	"time"

	"github.com/docker-rd/docker-rd/commands/objects"
	"github.com/docker-rd/docker-rd/internal/failure"
	"github.com/docker-rd/docker-rd/internal/logfile"
)

// parseMoment parses a time as docker does: absolute, or a duration before now. The zero time
// stands for none.
func parseMoment(text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	t, err := objects.ParseMoment(text, time.Now())
	if err != nil {
		return t, failure.Refuse("%q is not a time such as 10m or 2026-01-02T15:04:05", text)
	}
	return t, nil
}

// errLater ends the copying of a log at a line that is too late.
var errLater = errors.New("later than --until")

// A logFilter passes on the lines of a log between two times; zero is no limit. A line without
// a time has that of the line before.
type logFilter struct {
	w            io.Writer
	since, until time.Time
	timestamps   bool // before each line
	last         time.Time
}

// line is for [logfile.LineWriter]. It returns errLater if all further lines are too late.
func (f *logFilter) line(line []byte) error {
	if t, err := time.Parse(time.RFC3339Nano, logfile.Fields(string(line))["time"]); err == nil {
		f.last = t
	}
	if f.last.Before(f.since) {
		return nil
	}
	if !f.until.IsZero() && f.last.After(f.until) {
		return errLater
	}
	if f.timestamps {
		line = append([]byte(f.last.UTC().Format("2006-01-02T15:04:05.000000000Z")+" "), line...)
	}
	_, err := f.w.Write(line)
	return err
}

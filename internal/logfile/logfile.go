// Package logfile keeps logs that must not grow for ever.
//
// The file is never replaced: the engine writes to it, outlives whoever opened it for the
// engine, and would go on writing to what was put aside. So a log that has grown too large
// is copied and then emptied in place, as logrotate's copytruncate does.
package logfile

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/docker-rd/docker-rd/internal/files"
)

// Max is the size from which a log is put aside, in bytes.
const Max = 10 << 20

// Interval is how often [Keep] looks.
const Interval = time.Minute

// Open opens the log at path for appending and makes it where it is missing. One that has
// grown too large is put aside first. The caller closes the file.
func Open(path string) (*os.File, error) {
	if err := Rotate(path); err != nil {
		return nil, err
	}
	return files.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
}

// Aside returns where the log at path is put.
func Aside(path string) string { return path + ".1" }

// Keep puts the logs aside, now and whenever they have grown too large, until ctx ends. What fails
// is reported and tried again: a full disk is one of the reasons why it must.
func Keep(ctx context.Context, report func(error), paths ...string) {
	tick := time.NewTicker(Interval)
	defer tick.Stop()
	for {
		for _, path := range paths {
			if err := Rotate(path); err != nil {
				report(err)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// Rotate puts the log at path aside if it has grown too large, in the place of the one
// before. Others may be writing to it: a line that is written in the instant between the
// end of the copy and the emptying is lost.
func Rotate(path string) error {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && info.Size() < Max {
		return nil
	}
	if err != nil {
		return err
	}
	log, err := files.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer log.Close()
	// Where there is no room for a copy, the log must not take the rest.
	err = copyAside(log, Aside(path))
	return errors.Join(err, log.Truncate(0))
}

func copyAside(log io.Reader, path string) error {
	next := path + files.TempSuffix
	file, err := files.OpenFile(next, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(file, log)
	if err = errors.Join(err, file.Close()); err == nil {
		err = files.Rename(next, path)
	}
	if err != nil {
		return errors.Join(err, files.Remove(next))
	}
	return nil
}

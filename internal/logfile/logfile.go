// Package logfile keeps logs from growing without limit.
//
// The file is never replaced: the engine outlives the process that opened it, and would go on
// writing to the old file. So a log that is too large is copied and then truncated in place, like
// logrotate's copytruncate.
package logfile

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/docker-rd/docker-rd/internal/files"
	"github.com/docker-rd/docker-rd/internal/pause"
)

// Max is the size in bytes at which a log is rotated.
const Max = 10 << 20

// interval is how often [Keep] checks.
const interval = time.Minute

// Open opens or makes the log at path for appending. It first rotates a log that is too large. The
// caller closes the file.
func Open(path string) (*os.File, error) {
	if err := Rotate(path); err != nil {
		return nil, err
	}
	return files.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND)
}

// Rotated returns the path of the copy of the log at path.
func Rotated(path string) string { return path + ".1" }

// Keep rotates logs that are too large, now and later, until ctx ends. It reports errors and tries
// again.
func Keep(ctx context.Context, report func(error), paths ...string) {
	for {
		for _, path := range paths {
			if err := Rotate(path); err != nil {
				report(err)
			}
		}
		if pause.For(ctx, interval) != nil {
			return
		}
	}
}

// Rotate copies the log at path, if it is too large, over the last copy, and truncates it. A line
// that is written between the end of the copy and the truncation is lost.
func Rotate(path string) error {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && info.Size() < Max {
		return nil
	}
	if err != nil {
		return err
	}
	log, err := files.OpenFile(path, os.O_RDWR)
	if err != nil {
		return err
	}
	defer log.Close()
	// Truncate it even if there is no room for a copy.
	err = copyTo(log, Rotated(path))
	return errors.Join(err, log.Truncate(0))
}

func copyTo(log io.Reader, path string) error {
	next := path + files.TempSuffix
	file, err := files.OpenFile(next, os.O_CREATE|os.O_WRONLY|os.O_TRUNC)
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

package commands

import (
	"cmp"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/docker-rd/docker-rd/instance"
	"github.com/docker-rd/docker-rd/internal/dirwatch"
	"github.com/docker-rd/docker-rd/internal/failure"
	"github.com/docker-rd/docker-rd/internal/files"
	"github.com/docker-rd/docker-rd/internal/logfile"
)

type logsOptions struct {
	follow     bool
	tail       string
	supervisor bool
	since      string
	until      string
	timestamps bool
}

func (a *app) newLogs() *cobra.Command {
	var o logsOptions
	cmd := a.onInstance(&cobra.Command{
		Use:   "logs [OPTIONS] [INSTANCE]",
		Short: "Show the log of an engine, or of its supervisor",
	}, func(args []string) (*instance.Instance, error) {
		return a.salvage(a.loadNoting(args))
	}, func(cmd *cobra.Command, i *instance.Instance) error { return a.runLogs(cmd.Context(), o, i) })
	flags := cmd.Flags()
	flags.BoolVarP(&o.follow, "follow", "f", false, "Follow log output")
	flags.StringVarP(&o.tail, "tail", "n", "all", "Number of lines to show from the end of the log")
	flags.StringVar(&o.since, "since", "", `Show logs since a time ("2026-01-02T15:04:05") or a duration ago ("42m")`)
	flags.StringVar(&o.until, "until", "", `Show logs before a time ("2026-01-02T15:04:05") or a duration ago ("42m")`)
	flags.BoolVarP(&o.timestamps, "timestamps", "t", false, "Show timestamps before the lines")
	flags.BoolVar(&o.supervisor, "supervisor", false, "Show the supervisor's log")
	return cmd
}

// parseTail parses a number of lines; -1 stands for all.
func parseTail(text string) (int, error) {
	if text == "all" {
		return -1, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		return 0, failure.Refuse("tail %q: not a number of lines or \"all\"", text)
	}
	return n, nil
}

func (a *app) runLogs(ctx context.Context, o logsOptions, i *instance.Instance) error {
	path := i.Paths.EngineLog()
	if o.supervisor {
		path = i.Paths.SupervisorLog()
	}
	filter := &logFilter{w: a.out(), timestamps: o.timestamps}
	var err error
	if filter.since, err = parseMoment(o.since); err != nil {
		return err
	}
	if filter.until, err = parseMoment(o.until); err != nil {
		return err
	}
	lines, err := parseTail(o.tail)
	if err != nil {
		return err
	}
	w := &logfile.LineWriter{Line: filter.line}
	past := !filter.until.IsZero() && filter.until.Before(time.Now()) // then all that follows is too late
	err = showLog(ctx, w, path, lines, o.follow && !past)
	if errors.Is(err, errLater) {
		return nil
	}
	err = cmp.Or(err, w.Flush())
	if errors.Is(err, fs.ErrNotExist) {
		return failure.WithHint(failure.Refuse("instance %q has no such log: %w", i.Name, err),
			"an adopted engine logs elsewhere; %s shows the supervisor's log", a.hinter().run("logs --supervisor", i.Name))
	}
	if o.follow {
		return interrupted(ctx, err)
	}
	return err
}

// logInterval is how often a log is looked at whose directory can't be watched.
const logInterval = time.Second

// showLog copies the last lines of a log to w, all if lines is negative. With follow it goes
// on until ctx ends or the log is removed, across rotations.
func showLog(ctx context.Context, w io.Writer, path string, lines int, follow bool) error {
	var watch *dirwatch.Follower
	if follow {
		watch = dirwatch.Follow(filepath.Dir(path), logInterval, nil)
		defer watch.Close()
	}
	file, err := files.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	if err := seekLines(file, lines); err != nil {
		return err
	}
	for {
		if _, err := io.Copy(w, file); err != nil || !follow || fileGone(file, path) {
			return err
		}
		if err := watch.Wait(ctx); err != nil {
			return err
		}
		if err := again(w, file, path); err != nil {
			return err
		}
	}
}

// fileGone reports whether an open file is certainly not the one at path any more.
func fileGone(file *os.File, path string) bool {
	info, err := file.Stat()
	if err != nil {
		return false
	}
	gone, err := files.Gone(info, path)
	return err == nil && gone
}

// again goes back to the beginning of a log that was rotated (copied and truncated), after it
// has shown the unread rest of the copy.
func again(w io.Writer, file *os.File, path string) error {
	info, err := file.Stat()
	if err != nil {
		return err
	}
	read, err := file.Seek(0, io.SeekCurrent)
	if err != nil || info.Size() >= read {
		return err
	}
	if rotated, err := files.Open(logfile.Rotated(path)); err == nil {
		defer rotated.Close()
		if _, err := rotated.Seek(read, io.SeekStart); err != nil {
			return err
		}
		if _, err := io.Copy(w, rotated); err != nil {
			return err
		}
	}
	_, err = file.Seek(0, io.SeekStart)
	return err
}

// seekLines moves to the beginning of the last n lines, or of the file if it has fewer or n is
// negative.
func seekLines(file *os.File, n int) error {
	if n < 0 {
		return nil
	}
	end, err := file.Seek(0, io.SeekEnd)
	if err != nil || n == 0 {
		return err
	}
	const block = 64 << 10
	buf := make([]byte, block)
	for pos := end; pos > 0; {
		size := min(pos, block)
		pos -= size
		if _, err := file.ReadAt(buf[:size], pos); err != nil {
			return err
		}
		for k := size - 1; k >= 0; k-- {
			if buf[k] != '\n' || pos+k == end-1 { // the end of the last line does not count
				continue
			}
			if n--; n == 0 {
				_, err := file.Seek(pos+k+1, io.SeekStart)
				return err
			}
		}
	}
	_, err = file.Seek(0, io.SeekStart)
	return err
}

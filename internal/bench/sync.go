//go:build linux

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/docker-rd/docker-rd/internal/endpoint"
	"github.com/docker-rd/docker-rd/mirror"
	"github.com/docker-rd/docker-rd/mirror/state"
)

// syncCommand makes this program one that syncs a state file as the supervisor does:
// in a process of its own, as the commands are that it is compared with.
const syncCommand = "sync-once"

// syncTimes are how long a full sync took from the start of its process until the file
// said so, and what writing the file costs once everything is in it.
type syncTimes struct{ listed, synced, write time.Duration }

// syncOnce syncs the engine at socket into a new file.
func (b *bench) syncOnce(ctx context.Context, socket string, writes int) (t syncTimes, err error) {
	self, err := os.Executable()
	if err != nil {
		return t, err
	}
	dir, err := os.MkdirTemp(b.dir, "sync")
	if err != nil {
		return t, err
	}
	defer os.RemoveAll(dir)
	cmd := exec.CommandContext(ctx, self, syncCommand, socket, dir, strconv.Itoa(writes))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return t, err
	}
	begin := time.Now()
	if err := cmd.Start(); err != nil {
		return t, err
	}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		switch word, value, _ := strings.Cut(lines.Text(), " "); word {
		case state.ReasonListed:
			t.listed = time.Since(begin)
		case state.ReasonSynced:
			t.synced = time.Since(begin)
		case "write":
			if t.write, err = time.ParseDuration(value); err != nil {
				return t, err
			}
		}
	}
	if err := cmd.Wait(); err != nil {
		return t, fmt.Errorf("sync: %w", err)
	}
	if t.synced == 0 {
		return t, errors.New("sync: it did not say how it went")
	}
	if t.listed == 0 {
		t.listed = t.synced // so soon that both came in one write
	}
	return t, nil
}

// syncMain is the process. It prints a line when the file says Listed, one when it says
// Synced, and one with the median cost of so many writes with one change each.
func syncMain(args []string) error {
	if len(args) != 3 {
		return errors.New("usage: " + syncCommand + " SOCKET DIR WRITES")
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	socket, dir := args[0], args[1]
	writes, err := strconv.Atoi(args[2])
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	store, err := mirror.OpenStore(filepath.Join(dir, "state.json"), filepath.Join(dir, "state.lock"), state.Instance{UID: "bench"}, log)
	if err != nil {
		return err
	}
	source := mirror.NewSource(mirror.SourceOptions{
		Connect: func(context.Context) (*endpoint.Client, error) {
			return endpoint.Endpoint{Host: "unix://" + socket}.Client()
		},
		Log: log,
	})
	go func() { _ = source.Run(ctx) }()
	said := map[string]bool{}
	for !said[state.ReasonSynced] {
		var flush <-chan time.Time
		if wait, dirty := store.NextFlush(); dirty {
			flush = time.After(wait)
		}
		select {
		case u := <-source.Updates():
			store.Apply(u)
		case <-flush:
			if err := store.Flush(ctx); err != nil {
				return err
			}
			if c, _ := store.Condition(state.MirrorSynced); !said[c.Reason] {
				said[c.Reason] = true
				fmt.Println(c.Reason)
			}
		}
	}
	return timeWrites(ctx, os.Stdout, store, writes)
}

func timeWrites(ctx context.Context, w io.Writer, store *mirror.Store, n int) error {
	if n == 0 {
		return nil
	}
	var all samples
	for i := range n {
		store.SetEngineProcess(i+1, time.Time{})
		begin := time.Now()
		if err := store.Flush(ctx); err != nil {
			return err
		}
		all = append(all, time.Since(begin))
	}
	_, err := fmt.Fprintln(w, "write", all.median())
	return err
}

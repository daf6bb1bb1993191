//go:build linux

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
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
type syncTimes struct{ listed, synced, change time.Duration }

// syncOnce syncs the engine at socket into a new file.
func (b *bench) syncOnce(ctx context.Context, socket string, writes int) (t syncTimes, err error) {
	return b.syncOnceOf(ctx, socket, writes, "")
}

// syncOnceOf is [bench.syncOnce], of a containerd with its data in a directory if there is one.
func (b *bench) syncOnceOf(ctx context.Context, socket string, writes int, data string) (t syncTimes, err error) {
	self, err := os.Executable()
	if err != nil {
		return t, err
	}
	dir, err := os.MkdirTemp(b.dir, "sync")
	if err != nil {
		return t, err
	}
	defer os.RemoveAll(dir)
	cmd := exec.CommandContext(ctx, self, syncCommand, socket, dir, strconv.Itoa(writes), data)
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
		case string(state.ReasonListed):
			t.listed = time.Since(begin)
		case string(state.ReasonSynced):
			t.synced = time.Since(begin)
		case "change":
			t.change, err = time.ParseDuration(value)
		}
		if err != nil {
			return t, err
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
// Synced, and the median cost of so many writes.
func syncMain(args []string) error {
	if len(args) != 4 {
		return errors.New("usage: " + syncCommand + " SOCKET DIR WRITES DATA")
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
	connector := mirror.Connector{
		Endpoint:   func() (endpoint.Endpoint, error) { return endpoint.Endpoint{Host: "unix://" + socket}, nil },
		Containerd: args[3] != "", Data: args[3], Run: args[3],
	}
	source := mirror.NewSource(mirror.SourceOptions{Connect: connector.Connect, Log: log})
	go func() { _ = source.Run(ctx) }()
	said := map[state.Reason]bool{}
	var reason state.Reason
	for !said[state.ReasonSynced] {
		var flush <-chan time.Time
		if wait, dirty := store.NextFlush(); dirty {
			flush = time.After(wait)
		}
		select {
		case u := <-source.Updates():
			store.Apply(u)
			if u.Sync != nil {
				reason = u.Sync.Reason
			}
		case <-flush:
			if err := store.Flush(ctx); err != nil {
				return err
			}
			if reason != "" && !said[reason] {
				said[reason] = true
				fmt.Println(reason)
			}
		}
	}
	path := filepath.Join(dir, "state.json")
	synced, err := state.Read(path)
	if err != nil {
		return err
	}
	objects := slices.Collect(maps.Values(synced.Containers))
	change, err := timeWrites(ctx, store, objects, writes)
	fmt.Printf("change %v\n", change)
	return err
}

// timeWrites returns what a write with one changed object costs.
func timeWrites(ctx context.Context, store *mirror.Store, objects []state.Container, n int) (time.Duration, error) {
	var all samples
	for i := range n {
		c := objects[i%len(objects)]
		c.Name = fmt.Sprintf("another%d", time.Now().UnixNano())
		store.Apply(mirror.Update{Changes: []mirror.Change{{Kind: state.Containers, Objects: []any{c}}}})
		begin := time.Now()
		if err := store.Flush(ctx); err != nil {
			return 0, err
		}
		all = append(all, time.Since(begin))
	}
	return all.median(), nil
}

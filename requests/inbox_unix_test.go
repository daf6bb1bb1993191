//go:build !windows

package requests_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/docker-rd/docker-rd/requests"
)

// A request that comes while the supervisor can open no more files is accepted as soon as it can.
func TestTooManyOpenFiles(t *testing.T) {
	dir := t.TempDir()
	data, _ := json.Marshal(requests.Request{ID: "one"})
	prepared := filepath.Join(dir, "one.tmp")
	if err := os.WriteFile(prepared, data, 0o600); err != nil {
		t.Fatal(err)
	}
	var before syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	unlimited := func() {
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &before); err != nil {
			t.Error(err)
		}
	}
	defer unlimited()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	first, failed := make(chan struct{}), make(chan struct{})
	log := slog.New(logged(failed))
	if err := os.WriteFile(filepath.Join(dir, "zero.json"), []byte(`{"id":"zero"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	accepted := make(chan string, 9)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = requests.Follow(ctx, dir, log, func(r requests.Request) {
			if accepted <- r.ID; r.ID == "zero" {
				close(first)
			}
		})
	}()
	<-first
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: 3, Max: before.Max}); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(prepared, filepath.Join(dir, "one.json")); err != nil {
		t.Fatal(err)
	}
	<-failed
	unlimited()
	for _, want := range []string{"zero", "one"} {
		select {
		case id := <-accepted:
			if id != want {
				t.Errorf("accepted %q, want %q", id, want)
			}
		case <-ctx.Done():
			t.Errorf("request %q was not accepted", want)
		}
	}
	cancel()
	<-ended
}

// logged is a log that is closed by its first record.
type logged chan struct{}

func (l logged) Enabled(context.Context, slog.Level) bool { return true }
func (l logged) WithAttrs([]slog.Attr) slog.Handler       { return l }
func (l logged) WithGroup(string) slog.Handler            { return l }
func (l logged) Handle(context.Context, slog.Record) error {
	close(l)
	return nil
}

//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/docker-rd/docker-rd/internal/pause"
)

// The sizes that the targets are for.
var (
	many = size{containers: 1000, images: 500, volumes: 500, networks: 20}
	// twoThousand and tenThousand are how many objects there are in all.
	twoThousand = size{containers: 1000, images: 500, volumes: 480, networks: 20}
	tenThousand = twoThousand.times(5)
)

// mirror measures the mirror: with a real dockerd that has many objects, and with ten
// times as many in an engine that answers at once.
func (b *bench) mirror(ctx context.Context) error {
	for _, part := range []struct {
		name string
		run  func(context.Context) error
	}{
		{"real", b.mirrorReal},
		{"fake", b.mirrorFake},
		{"growth", b.growth},
		{"storms", b.storms},
		{"idle", b.idle},
	} {
		if len(b.only) > 0 && !slices.Contains(b.only, part.name) {
			continue
		}
		if err := part.run(ctx); err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
	}
	return nil
}

func (b *bench) mirrorReal(ctx context.Context) (err error) {
	begin := time.Now()
	s, err := b.realEngine(ctx, many)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	b.table.note("dockerd with %s (made in %s):", many, text(time.Since(begin)))
	return b.both(ctx, s, "real", 0.2)
}

func (b *bench) mirrorFake(ctx context.Context) (err error) {
	s, _, err := b.fakeEngine("fake", many.times(10))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	b.table.note("an engine that answers at once, with %s:", many.times(10))
	return b.both(ctx, s, "fake", 0.3)
}

// both measures what is measured with the real and the fake engine. Reads is the target of reading the
// mirror.
func (b *bench) both(ctx context.Context, s *subject, name string, reads float64) error {
	if err := b.syncs(ctx, s); err != nil {
		return err
	}
	w, err := b.watch(ctx, name, s.host())
	if err != nil {
		return err
	}
	if err := b.reads(ctx, w, reads); err != nil {
		return errors.Join(err, w.stop())
	}
	return errors.Join(b.latency(ctx, s, w), w.stop())
}

// syncs compares a full sync with the engine's own lists, and with docker's inspect.
func (b *bench) syncs(ctx context.Context, s *subject) error {
	h, err := b.newHome("cli")
	if err != nil {
		return err
	}
	names, err := h.objects(ctx, s.host())
	if err != nil {
		return err
	}
	curl := []string{"-sSf", "--unix-socket", s.socket}
	for _, path := range []string{"containers/json?all=1", "images/json?all=1", "volumes", "networks"} {
		curl = append(curl, "-o", "/dev/null", "http://engine/"+path)
	}
	var listed, synced samples
	all, err := inTurns(b.rounds,
		func() (time.Duration, error) { return h.time(ctx, "curl", curl...) },
		func() (time.Duration, error) {
			t, err := b.syncOnce(ctx, s.socket, 0)
			listed, synced = append(listed, t.listed), append(synced, t.synced)
			return t.synced, err
		},
		func() (total time.Duration, err error) {
			for kind, names := range names {
				d, err := h.time(ctx, "docker", append([]string{"-H", s.host(), kind, "inspect"}, names...)...)
				if err != nil {
					return 0, err
				}
				total += d
			}
			return total, nil
		},
	)
	if err != nil {
		return err
	}
	b.table.ratio("sync from an empty file to Listed / four lists by curl", listed[1:], all[0], 1.5)
	b.table.ratio("sync from an empty file to Synced / four lists by curl", synced[1:], all[0], 3.5)
	b.table.ratio("sync from an empty file to Synced / docker inspect of all", synced[1:], all[2], 0.6)
	return nil
}

// reads compares reading the mirror with asking the engine.
func (b *bench) reads(ctx context.Context, w *watched, target float64) error {
	format := "json"
	if v, err := w.output(ctx, "docker", "version", "--format", "{{.Client.Version}}"); err == nil && strings.HasPrefix(v, "20.") {
		format = "{{json .}}" // what json means since docker 23
	}
	all, err := inTurns(b.rounds,
		func() (time.Duration, error) { return w.rd(ctx, "get", "containers", "--format", "json") },
		func() (time.Duration, error) {
			return w.time(ctx, "docker", "-H", w.host, "ps", "-a", "--no-trunc", "--format", format)
		},
	)
	if err != nil {
		return err
	}
	b.table.ratio("docker-rd get containers / docker ps -a, as JSON", all[0], all[1], target)
	return nil
}

// growth compares ten times as many objects with ten times the time.
func (b *bench) growth(ctx context.Context) error {
	small, _, err := b.fakeEngine("g1", many)
	if err != nil {
		return err
	}
	defer small.close()
	large, _, err := b.fakeEngine("g10", many.times(10))
	if err != nil {
		return err
	}
	defer large.close()
	var changes [2]samples
	times := func(n int, s *subject) func() (time.Duration, error) {
		return func() (time.Duration, error) {
			t, err := b.syncOnce(ctx, s.socket, 10)
			changes[n] = append(changes[n], t.change)
			return t.synced, err
		}
	}
	all, err := inTurns(b.rounds, times(0, small), times(1, large))
	if err != nil {
		return err
	}
	b.table.note("ten times as many objects:")
	b.table.ratio(fmt.Sprintf("sync %d objects / %d", many.times(10).total(), many.total()), all[1], all[0], 11)
	b.table.ratio(fmt.Sprintf("write a change among %d objects / %d", many.times(10).total(), many.total()), changes[1][1:], changes[0][1:], 11)
	return nil
}

// idle lets a minute pass.
func (b *bench) idle(ctx context.Context) (err error) {
	s, engine, err := b.fakeEngine("idle", twoThousand)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	w, err := b.watch(ctx, "idle", s.host())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.stop()) }()
	if err := pause.For(ctx, 2*time.Second); err != nil {
		return err
	}
	before, err := w.look(engine)
	if err != nil {
		return err
	}
	if err := pause.For(ctx, time.Minute); err != nil {
		return err
	}
	after, err := w.look(engine)
	if err != nil {
		return err
	}
	b.table.note("a minute in which nothing happens, with %d objects:", twoThousand.total())
	b.table.count("writes", int(after.revision-before.revision), 0, "")
	b.table.count("requests to the engine: is it there?", after.calls-before.calls, 3, "")
	b.table.atMost("processor time of the supervisor", after.cpu-before.cpu, 10*time.Millisecond)
	b.table.count("resident memory of the supervisor", after.memory>>20, 40, " MB")
	return nil
}

//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"regexp"
	"sync"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"

	"github.com/docker-rd/docker-rd/internal/pause"
	"github.com/docker-rd/docker-rd/internal/test/fakeengine"
	"github.com/docker-rd/docker-rd/mirror/state"
)

// storms measures what floods of events do to the supervisor.
func (b *bench) storms(ctx context.Context) (err error) {
	s, engine, err := b.fakeEngine("storm", tenThousand)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	w, err := b.watch(ctx, "storm", s.host())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.stop()) }()
	// A busy engine, and many times what a dockerd can do on such a machine.
	for _, rate := range []int{500, 5000} {
		if err := b.storm(ctx, s, engine, w, rate, 20*time.Second); err != nil {
			return err
		}
	}
	return nil
}

// storm sends so many events in a second, for so long: containers that start, exit and
// are renamed, commands run in them, and now and then one that comes and goes.
func (b *bench) storm(ctx context.Context, s *subject, engine *fakeengine.Engine, w *watched, rate int, long time.Duration) error {
	ids := engine.IDs("containers")
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	p := &probe{subject: s, n: len(ids) - 1, path: w.file}
	var probing sync.WaitGroup
	defer probing.Wait()
	defer cancel()
	probing.Go(func() { p.run(ctx) })

	rng := rand.New(rand.NewPCG(1, uint64(rate)))
	before, err := w.look(engine)
	if err != nil {
		return err
	}
	begin := time.Now()
	sent := 0
	for elapsed := time.Duration(0); elapsed < long; elapsed = time.Since(begin) {
		for due := int(elapsed.Seconds() * float64(rate)); sent < due; {
			sent += stormEvent(engine, ids[rng.IntN(len(ids)-1)], rng.IntN(100), sent)
		}
		if err := pause.For(ctx, time.Millisecond); err != nil {
			return err
		}
	}
	took := time.Since(begin)
	after, err := w.look(engine)
	if err != nil {
		return err
	}
	cancel()
	probing.Wait()
	quiet, err := w.caughtUp(engine)
	if err != nil {
		return err
	}
	b.table.note("a storm of %d events in %s at %d objects (the file was right %s after it):", sent, text(took), tenThousand.total(), text(quiet))
	share := float64(after.cpu-before.cpu) / float64(took)
	b.table.row("processor time of the supervisor / time", text(after.cpu-before.cpu), text(took), fmt.Sprintf("%.2f", share), "≤ 0.25", share <= 0.25)
	b.table.atMost("longest age of the file: between two writes", p.gap, time.Second)
	b.table.atMost("longest age of the file: from a change into it", p.lag, time.Second)
	return nil
}

// stormEvent makes one thing happen and returns how many events that were.
func stormEvent(e *fakeengine.Engine, id string, what, n int) int {
	switch {
	case what < 20:
		e.Emit(events.ContainerEventType, "exec_start: true", id, nil)
	case what < 50:
		e.StartContainer(id)
	case what < 80:
		e.ExitContainer(id, n%256)
	case what < 99:
		e.ChangeContainer(id, func(c *container.InspectResponse) { c.Name = fmt.Sprintf("/storm%d", n) }, events.ActionRename)
	default:
		e.RemoveContainer(e.CreateContainer(fmt.Sprintf("short%d", n), "image0:latest"))
		return 2
	}
	return 1
}

// A probe changes one object again and again and looks how long that takes to reach
// the file.
type probe struct {
	*subject
	n    int // the object
	path string

	gap time.Duration // the longest time between two writes that was seen
	lag time.Duration // the longest time from a change into the file
}

var probeName = regexp.MustCompile(`"name":"probe-(\d+)"`)

func (p *probe) run(ctx context.Context) {
	const every = 200 * time.Millisecond
	var changed time.Time
	change := 0
	var lastWrite time.Time
	followFile(ctx, p.path, func(content []byte, at time.Time) {
		if !lastWrite.IsZero() {
			p.gap = max(p.gap, at.Sub(lastWrite))
		}
		lastWrite = at
		if !changed.IsZero() {
			m := probeName.FindSubmatch(content)
			if m == nil || string(m[1]) != fmt.Sprint(change) {
				return
			}
			p.lag = max(p.lag, at.Sub(changed))
			if at.Sub(changed) < every {
				time.Sleep(every - at.Sub(changed))
			}
		}
		change++
		changed = time.Now()
		_ = p.change(ctx, p.n, fmt.Sprintf("probe-%d", change))
	})
	if !changed.IsZero() {
		p.lag = max(p.lag, time.Since(changed)) // the last one has not arrived yet
	}
}

// caughtUp returns how long it takes until the file says of every container what the
// engine says.
func (w *watched) caughtUp(engine *fakeengine.Engine) (time.Duration, error) {
	begin := time.Now()
	names := engine.Names()
	for {
		s, err := state.Read(w.file)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return 0, err
		}
		if s != nil && len(s.Containers) == len(names) {
			same := true
			for id, name := range names {
				same = same && s.Containers[id].Name == name
			}
			if same {
				return time.Since(begin), nil
			}
		}
		if time.Since(begin) > time.Minute {
			return 0, errors.New("the file is still wrong a minute after the storm")
		}
		time.Sleep(50 * time.Millisecond)
	}
}

//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/moby/moby/client"

	"github.com/docker-rd/docker-rd/internal/pause"
	"github.com/docker-rd/docker-rd/internal/test/fakeengine"
	"github.com/docker-rd/docker-rd/mirror/state"
)

// watched is an engine that docker-rd mirrors, with a supervisor.
type watched struct {
	*home
	host string
	file string // the state file
	pid  int    // of the supervisor
}

// watch has docker-rd adopt an engine and returns when the mirror is synced.
func (b *bench) watch(ctx context.Context, name, host string) (*watched, error) {
	h, err := b.newHome("h" + name)
	if err != nil {
		return nil, err
	}
	w := &watched{home: h, host: host}
	if _, err := h.rd(ctx, "start", "--driver", "existing", "--host", host, "--promote", "never"); err != nil {
		return nil, err
	}
	if w.file, err = h.output(ctx, h.bin, "paths", "default", "state"); err != nil {
		return nil, errors.Join(err, w.stop())
	}
	s, err := state.ReadHead(w.file)
	if err != nil {
		return nil, errors.Join(err, w.stop())
	}
	w.pid = s.Supervisor.PID
	return w, nil
}

func (w *watched) stop() error {
	_, err := w.rd(context.Background(), "stop")
	return err
}

// A look is what a supervisor has done so far.
type look struct {
	cpu      time.Duration
	memory   int
	calls    int // requests to the engine
	revision uint64
}

func (w *watched) look(engine *fakeengine.Engine) (l look, err error) {
	s, err := state.ReadHead(w.file)
	if err != nil {
		return l, err
	}
	l.revision = s.Revision
	for _, n := range engine.Calls() {
		l.calls += n
	}
	if l.memory, err = memory(w.pid); err != nil {
		return l, err
	}
	l.cpu, err = cpuTime(w.pid)
	return l, err
}

const (
	// eventRate is how many events arrive in a second, for so long.
	eventRate = 200
	eventTime = 10 * time.Second
)

// latency measures how long after an event its object is in the file as it is then.
func (b *bench) latency(ctx context.Context, s *subject, w *watched) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	a := newArrivals(w.file)
	var both sync.WaitGroup
	defer both.Wait()
	defer cancel()
	both.Go(func() { a.follow(ctx) })
	if err := a.listen(ctx, &both, w.host); err != nil {
		return err
	}
	changes := make(chan int)
	errs := make(chan error, 1)
	for range 4 {
		both.Go(func() {
			for n := range changes {
				if err := s.change(ctx, n, fmt.Sprintf("%s%d", arrivalPrefix, n)); err != nil {
					select {
					case errs <- err:
					default:
					}
				}
			}
		})
	}
	total := int(eventTime.Seconds() * eventRate)
	begin := time.Now()
	for n := range total {
		time.Sleep(time.Until(begin.Add(time.Duration(n) * time.Second / eventRate)))
		changes <- n
	}
	close(changes)
	took := time.Since(begin)
	if err := pause.For(ctx, 3*time.Second); err != nil {
		return err
	}
	select {
	case err := <-errs:
		return fmt.Errorf("change an object: %w", err)
	default:
	}
	lags, lost := a.result()
	b.table.note("%d events in %s:", total, text(took))
	b.table.atMost("from an event to the file, median", lags.median(), 20*time.Millisecond)
	b.table.atMost("from an event to the file, 99th percentile", lags.percentile(99), 100*time.Millisecond)
	b.table.count("events that did not arrive", lost, 0, "")
	return nil
}

// arrivalPrefix begins the names that are looked for in the file.
const arrivalPrefix = "arrival-"

// arrivals notes when events are sent and when they have reached the file. An object
// that was changed again counts with its later name for both.
type arrivals struct {
	file string

	mu      sync.Mutex
	sent    map[int]time.Time
	arrived map[int]time.Time
}

func newArrivals(file string) *arrivals {
	return &arrivals{file: file, sent: map[int]time.Time{}, arrived: map[int]time.Time{}}
}

// listen notes the engine's own time of each event.
func (a *arrivals) listen(ctx context.Context, group *sync.WaitGroup, host string) error {
	cli, err := client.New(client.WithHost(host))
	if err != nil {
		return err
	}
	stream := cli.Events(ctx, client.EventsListOptions{})
	group.Go(func() {
		defer cli.Close()
		for {
			select {
			case e := <-stream.Messages:
				if n, err := strconv.Atoi(string(bytes.TrimPrefix([]byte(e.Actor.Attributes["name"]), []byte(arrivalPrefix)))); err == nil {
					a.mu.Lock()
					a.sent[n] = time.Unix(0, e.TimeNano)
					a.mu.Unlock()
				}
			case <-stream.Err:
				return
			}
		}
	})
	return nil
}

// follow notes what is new in each version of the file.
func (a *arrivals) follow(ctx context.Context) {
	followFile(ctx, a.file, func(content []byte, at time.Time) {
		a.mu.Lock()
		defer a.mu.Unlock()
		// By hand: a regular expression takes as long as many writes.
		const before = `"name":"` + arrivalPrefix
		for _, rest, ok := bytes.Cut(content, []byte(before)); ok; _, rest, ok = bytes.Cut(rest, []byte(before)) {
			number, _, _ := bytes.Cut(rest[:min(len(rest), 20)], []byte{'"'})
			n, err := strconv.Atoi(string(number))
			if _, known := a.arrived[n]; err == nil && !known {
				a.arrived[n] = at
			}
		}
	})
}

func (a *arrivals) result() (lags samples, lost int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for n, sent := range a.sent {
		if at, ok := a.arrived[n]; ok {
			lags = append(lags, at.Sub(sent))
		} else {
			lost++
		}
	}
	return lags, lost
}

// followFile calls f with each version of a file that it gets to see, until ctx ends.
func followFile(ctx context.Context, path string, f func(content []byte, at time.Time)) {
	var last os.FileInfo
	for ctx.Err() == nil {
		if info, err := os.Stat(path); err == nil && (last == nil || !os.SameFile(info, last) || !info.ModTime().Equal(last.ModTime())) {
			last = info
			at := time.Now()
			if content, err := os.ReadFile(path); err == nil {
				f(content, at)
			}
			continue
		}
		time.Sleep(time.Millisecond)
	}
}

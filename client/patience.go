package client

import (
	"context"
	"errors"
	"os"
	"time"
)

// errPatience ends a wait that has lasted too long.
var errPatience = errors.New("out of patience")

// extension is how many times the patience a wait lasts at most, however much progress
// there is.
const extension = 10

// patient returns a context that ends, with the cause errPatience, when nothing has been
// written to the file for as long as patience says: an engine that restores hundreds of
// containers tells of each in its log. Without patience it is ctx.
func patient(ctx context.Context, patience time.Duration, file string) (context.Context, context.CancelFunc) {
	if patience <= 0 {
		return context.WithCancel(ctx)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	tick := time.NewTicker(min(time.Second, patience/4))
	go func() {
		defer tick.Stop()
		if awaitStandstill(ctx, patience, time.Now(), tick.C, func() int64 { return sizeOf(file) }) {
			cancel(errPatience)
		}
	}()
	return ctx, func() { cancel(nil) }
}

// awaitStandstill looks at a size with each tick, and returns true when it has not changed for
// as long as patience says, or when that has gone on for too long since begin. It returns
// false when ctx ends before.
func awaitStandstill(ctx context.Context, patience time.Duration, begin time.Time, ticks <-chan time.Time, size func() int64) bool {
	was, changed := size(), begin
	for {
		select {
		case <-ctx.Done():
			return false
		case now := <-ticks:
			if s := size(); s != was {
				was, changed = s, now
			}
			if now.Sub(changed) >= patience || now.Sub(begin) >= extension*patience {
				return true
			}
		}
	}
}

// sizeOf returns the size of a file, -1 where there is none.
func sizeOf(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return -1
	}
	return info.Size()
}

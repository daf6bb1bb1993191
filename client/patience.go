package client

import (
	"context"
	"errors"
	"os"
	"time"
)

// errPatience is the cause when patience has ended a wait.
var errPatience = errors.New("out of patience")

// extension bounds a wait with progress: so many times the patience.
const extension = 10

// patient returns a context that ends, with the cause errPatience, when the file has not grown for
// the time of patience: an engine that restores hundreds of containers logs each. With patience
// 0 it is ctx.
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

// awaitStandstill reads a size with each tick. It returns true when the size has not changed for
// the time of patience, or when the wait is too long in all, and false when ctx ends.
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

// sizeOf returns the size of a file, -1 if there is none.
func sizeOf(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return -1
	}
	return info.Size()
}

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
	go func() {
		tick := time.NewTicker(min(time.Second, patience/4))
		defer tick.Stop()
		begin := time.Now()
		size, grown := sizeOf(file), begin
		for {
			select {
			case <-ctx.Done():
				return
			case now := <-tick.C:
				if s := sizeOf(file); s != size {
					size, grown = s, now
				}
				if now.Sub(grown) >= patience || now.Sub(begin) >= extension*patience {
					cancel(errPatience)
					return
				}
			}
		}
	}()
	return ctx, func() { cancel(nil) }
}

// sizeOf returns the size of a file, -1 where there is none.
func sizeOf(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return -1
	}
	return info.Size()
}

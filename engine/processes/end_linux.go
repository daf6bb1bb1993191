package processes

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"time"
)

// endTimeout is how long the end of all processes may take once they were killed. It
// is spent only on processes that the kernel itself holds.
const endTimeout = 10 * time.Second

// End kills all processes of the engine, and removes its cgroups and those that are known
// to be its containers'. It returns what it saw last: nothing of the engine, and what
// is others'. When ctx ends before, or after ten seconds, the error says what is left.
func (e Engine) End(ctx context.Context, h Hierarchies, known []string) (*Found, error) {
	ctx, cancel := context.WithTimeout(ctx, endTimeout)
	defer cancel()
	groups := append(e.Groups(h), known...)
	var f *Found
	for {
		var err error
		if f, err = e.Scan(h, groups...); err != nil {
			return nil, err
		}
		// Groups that were seen once are remembered: once the shim or the first process of
		// the container has ended, they are not found again.
		for _, dir := range append(e.Groups(h), f.Groups...) {
			if !slices.Contains(groups, dir) {
				groups = append(groups, dir)
			}
		}
		if len(f.Procs) == 0 {
			break
		}
		if ctx.Err() != nil {
			return nil, fmt.Errorf("processes of the engine do not end: %s", Describe(f.Procs))
		}
		kill(h, f, groups)
	}
	var errs []error
	for _, dir := range groups {
		if err := RemoveGroup(dir); err != nil {
			errs = append(errs, err)
		}
	}
	return f, errors.Join(errs...)
}

// kill sends SIGKILL to everything found and waits a moment for its end.
func kill(h Hierarchies, f *Found, groups []string) {
	// The engine first: it would start containers again that end before it.
	if f.Daemon != nil {
		_ = f.Daemon.ID.Signal(syscall.SIGKILL)
	}
	for _, dir := range groups {
		killGroup(h, dir)
	}
	for _, p := range f.Procs {
		_ = p.ID.Signal(syscall.SIGKILL)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	for _, p := range f.Procs {
		_ = p.ID.Wait(ctx)
	}
}

// Describe names processes for a message.
func Describe(procs []Proc) string {
	var names []string
	for _, p := range procs {
		names = append(names, fmt.Sprintf("%s (%s)", p.ID, p.Comm))
	}
	return strings.Join(names, ", ")
}

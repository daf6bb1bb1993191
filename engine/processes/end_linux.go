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

// endTimeout is how long processes may take to end once they were killed. Only those that hang
// in the kernel take that long.
const endTimeout = 10 * time.Second

// End kills all processes of the engine and removes its cgroups and the known ones of its
// containers. It returns the last scan, which has only other engines' processes. If ctx ends
// first, or after ten seconds, the error says what is left.
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
		// Remember all groups: once the shim or the first process of a container has ended,
		// its groups can't be found.
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
	// The engine first, or it would restart containers.
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

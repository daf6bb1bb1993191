package dockercontext

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/docker-rd/docker-rd/dockercontext/claim"
	"github.com/docker-rd/docker-rd/internal/endpoint"
	"github.com/docker-rd/docker-rd/mirror/state"
)

// Claim makes the default sockets lead to owner's engine, which must be up, at the unix socket with
// the path socket. It claims those that do not exist, or where nobody listens. It goes with a
// promotion: if owner's context is the current one, the claims of others are given back first.
//
// The proof that nobody listens takes a moment, unless first is an earlier look, of
// [Config.LookAtSockets]. If everything is claimed already, nothing is written. The outcome's reason
// is the one for the condition SocketClaimed.
func (c *Config) Claim(ctx context.Context, owner Owner, socket string, policy Policy, first *claim.Look) Outcome {
	switch {
	case owner.Context == "" || socket == "" || len(c.o.Sockets) == 0:
		return outcome(state.ReasonNotApplicable, "There is no default socket to claim.")
	case policy == PromoteNever:
		return outcome(state.ReasonNotRequested, "The default socket is left as it is, as asked.")
	}
	paths := slices.DeleteFunc(slices.Clone(c.o.Sockets), func(path string) bool { return sameName(path, socket) })
	if len(paths) == 0 {
		return outcome(state.ReasonNotApplicable, "The default socket is this engine's own.")
	}
	if c.releaseReplaced(ctx, owner) {
		first = nil // it saw the claim that is gone
	}
	results, err := c.o.Claims.Make(ctx, owner, socket, paths, first, func() bool {
		return c.o.Owners.State(owner) == Up
	})
	if err != nil {
		return failed(err, "The default socket can't be claimed")
	}
	return claimOutcome(results)
}

// releaseReplaced gives back the claims of other instances in this configuration if owner's context
// is the current one: theirs are not. Everybody who sees a promotion does so, before anything is
// claimed for it. If it fails, the claim that follows says so.
func (c *Config) releaseReplaced(ctx context.Context, owner Owner) (released bool) {
	if current, err := c.Current(); err != nil || current != owner.Context {
		return false
	}
	others, _ := c.o.Claims.Owners()
	for _, o := range others {
		if here, _ := c.Exists(o); here && o != owner {
			released = c.Release(ctx, o).Changed || released
		}
	}
	return released
}

// LookAtSockets is a first look at the default sockets, for a later [Config.Claim].
func (c *Config) LookAtSockets() *claim.Look { return claim.LookAt(c.o.Sockets) }

// SocketDirs returns the existing directories of the default sockets.
func (c *Config) SocketDirs() []string {
	var dirs []string
	for _, path := range c.o.Sockets {
		dir := filepath.Dir(path)
		if info, err := os.Stat(dir); err == nil && info.IsDir() && !slices.Contains(dirs, dir) {
			dirs = append(dirs, dir)
		}
	}
	return dirs
}

// sameName reports whether two paths are the same entry of the same directory.
func sameName(a, b string) bool {
	dirA, errA := filepath.EvalSymlinks(filepath.Dir(a))
	dirB, errB := filepath.EvalSymlinks(filepath.Dir(b))
	return errA == nil && errB == nil && dirA == dirB && filepath.Base(a) == filepath.Base(b)
}

// claimOutcome sums up the results: a claimed socket counts, else the first failure.
func claimOutcome(results []claim.Result) Outcome {
	var claimed []string
	var changed bool
	for _, r := range results {
		if r.Err == nil {
			claimed = append(claimed, r.Path)
			changed = changed || r.Changed
		}
	}
	if len(claimed) > 0 {
		return Outcome{Reason: state.ReasonClaimed, Changed: changed, Message: leads(claimed)}
	}
	for _, r := range results {
		if out := notClaimed(r); out.Reason != state.ReasonNotApplicable {
			return out
		}
	}
	return notClaimed(results[0])
}

func notClaimed(r claim.Result) Outcome {
	switch {
	case errors.Is(r.Err, claim.ErrNotUp):
		return outcome(state.ReasonNotApplicable, "The engine is not up any more, so %s is not claimed.", r.Path)
	case errors.Is(r.Err, claim.ErrInUse) && r.By != Owner{}:
		return outcome(state.ReasonInUse, "%s leads to the engine of context %q, which is docker rd's too.", r.Path, r.By.Context)
	case errors.Is(r.Err, claim.ErrInUse):
		return outcome(state.ReasonInUse, "%s is somebody else's: %v.", r.Path, r.Err)
	case errors.Is(r.Err, fs.ErrPermission) || errors.Is(r.Err, syscall.EROFS):
		return outcome(state.ReasonNotPermitted, "%s can't be claimed: %v.", r.Path, r.Err)
	case errors.Is(r.Err, fs.ErrNotExist):
		return outcome(state.ReasonNotApplicable, "%s has no directory here.", r.Path)
	}
	return failed(r.Err, "%s can't be claimed", r.Path)
}

// Release gives back the sockets that owner still claims. [Config.Demote] begins with it. The
// outcome's reason is Released, NotApplicable if there was no claim, or Failed.
func (c *Config) Release(ctx context.Context, owner Owner) Outcome {
	paths, err := c.o.Claims.End(ctx, owner)
	switch {
	case err != nil:
		return failed(err, "The default socket can't be given back")
	case len(paths) == 0:
		return outcome(state.ReasonNotApplicable, "No default socket was claimed.")
	}
	return Outcome{Reason: state.ReasonReleased, Changed: true, Message: fmt.Sprintf("%s is given back.", strings.Join(paths, " and "))}
}

// Claimed returns the state of owner's claim, as a reason of the condition SocketClaimed:
// Claimed, or Released if there is none, or another engine has taken the socket.
func (c *Config) Claimed(owner Owner) Outcome {
	paths, err := c.o.Claims.Holds(owner)
	switch {
	case err != nil:
		return failed(err, "The state of the default socket can't be determined")
	case len(paths) == 0:
		return outcome(state.ReasonReleased, "The default socket is not this engine's, or not any more.")
	}
	return Outcome{Reason: state.ReasonClaimed, Message: leads(paths)}
}

func (c *Config) claimant(e endpoint.Endpoint) (Owner, bool) {
	if e.Scheme() != "unix" {
		return Owner{}, false
	}
	owner, ok := c.o.Claims.Find(strings.TrimPrefix(e.Host, "unix://"))
	return owner, ok
}

// releaseGone gives back the claims of engines that are gone.
func (c *Config) releaseGone(ctx context.Context) Outcome {
	owners, err := c.o.Claims.Owners()
	if err != nil {
		return failed(err, "The default socket can't be given back")
	}
	last := nothingToRepair
	for _, o := range owners {
		if !c.gone(o) {
			continue
		}
		if out := c.Release(ctx, o); out.Changed || out.Err != nil {
			last = out
		}
	}
	return last
}

// leads is the sentence that default sockets lead to the engine.
func leads(paths []string) string {
	verb := "leads"
	if len(paths) > 1 {
		verb = "lead"
	}
	return fmt.Sprintf("%s %s to this engine.", strings.Join(paths, " and "), verb)
}

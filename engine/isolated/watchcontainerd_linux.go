package isolated

import (
	"context"
	"slices"
	"time"

	"github.com/moby/moby/api/types/system"
	"github.com/moby/moby/client"

	"github.com/docker-rd/docker-rd/engine/processes"
	"github.com/docker-rd/docker-rd/internal/process"
)

// lookForContainerd is how often dockerd's containerd is looked for, or whether dockerd has it again.
const lookForContainerd = time.Second

// watchContainerd reports a dockerd that has lost its containerd. It answers, but starts no container
// until it has started another one, which it does after ten seconds.
func (e *Engine) watchContainerd(ctx context.Context) {
	const subject, words = "containerd", "containerd has ended, and no container starts until dockerd has started it again, within some seconds"
	strangers := 0
	for strangers < 10 && e.pause(ctx, lookForContainerd) {
		has, err := e.hasContainerd(ctx)
		if err != nil {
			continue // it does not answer, perhaps not yet
		}
		if !has {
			e.problems.Set(subject, words)
			continue
		}
		e.problems.Set(subject, "")
		id := e.containerd()
		if id == (process.ID{}) {
			strangers++ // dockerd may be told to use another one
			continue
		}
		if id.Wait(ctx) != nil || !e.ID().Alive() {
			return
		}
		e.problems.Set(subject, words)
	}
}

// pause waits, and reports whether neither ctx nor the engine has ended meanwhile.
func (e *Engine) pause(ctx context.Context, wait time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-e.exited:
		return false
	case <-time.After(wait):
		return true
	}
}

// containerd returns the process of dockerd's containerd, if it is there.
func (e *Engine) containerd() process.ID {
	all, _ := processes.All(e.cfg.UID)
	return among(all, func(p processes.Proc) bool { return p.Comm == "containerd" })
}

// hasContainerd reports whether dockerd reaches a containerd: then it knows its version. It is an
// error if dockerd does not answer.
func (e *Engine) hasContainerd(ctx context.Context) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	api, err := e.api()
	if err != nil {
		return false, err
	}
	defer api.Close()
	version, err := api.ServerVersion(ctx, client.ServerVersionOptions{})
	return slices.ContainsFunc(version.Components, func(c system.ComponentVersion) bool { return c.Name == "containerd" }), err
}

package isolated

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/docker-rd/docker-rd/engine/namespaces"
	"github.com/docker-rd/docker-rd/engine/processes"
	"github.com/docker-rd/docker-rd/internal/portproxy"
	"github.com/docker-rd/docker-rd/internal/process"
)

// A companion is a process in the host's namespaces that serves an engine.
type companion struct {
	name string
	lack string // what is wrong without it
	is   func(processes.Proc) bool
	// start starts it for a running engine. It may run although there is an error: then it has
	// an id.
	start func(context.Context, *Engine) (process.ID, error)
	words func(*Engine) string // why it has ended
}

var companions = []companion{slirp, relay}

var (
	slirp = companion{
		name: namespaces.CommSlirp,
		lack: "the engine reaches nothing outside",
		is:   func(p processes.Proc) bool { return p.Comm == namespaces.CommSlirp },
		start: func(ctx context.Context, e *Engine) (process.ID, error) {
			return e.cfg.namespaces().AttachSlirp(ctx, e.ID(), e.rec.Subnets)
		},
		words: func(e *Engine) string { return e.cfg.namespaces().LastWords() },
	}
	relay = companion{
		name: "the relay",
		lack: "the engine finds no names, and can publish no further ports",
		is: func(p processes.Proc) bool {
			return p.Comm == portproxy.Name && processes.HasArgument(p.ID.PID, portproxy.RelayArg)
		},
		start: func(ctx context.Context, e *Engine) (process.ID, error) {
			return e.cfg.namespaces().AttachRelay(ctx, e.ID(), e.cfg.relay(e.rules(namespaces.HostAddress())))
		},
		words: func(*Engine) string { return "" },
	}
)

// relay is what an engine's relay serves.
func (c *Config) relay(rules *namespaces.Rules) namespaces.Relay {
	r := namespaces.Relay{Program: c.private(proxyPlace), Rules: rules, Broker: c.brokerSocket()}
	if c.rootless() {
		r.API = filepath.Join(c.rootlessKit(), "api.sock")
	}
	return r
}

// among returns which of the engine's processes is one, the zero ID if it does not run.
func among(procs []processes.Proc, is func(processes.Proc) bool) process.ID {
	i := slices.IndexFunc(procs, func(p processes.Proc) bool { return p.Marked && is(p) })
	if i < 0 {
		return process.ID{}
	}
	return procs[i].ID
}

// keep restarts a companion, which runs if it has an id, whenever it ends before the engine.
func (e *Engine) keep(ctx context.Context, c companion, id process.ID) {
	const shortest, longest = 10 * time.Millisecond, 10 * time.Second
	for delay := shortest; ; {
		if id != (process.ID{}) {
			since := time.Now()
			if !e.watchUse(ctx, c.name, id, useInterval, busyShare) || !e.ID().Alive() {
				return
			}
			e.cfg.Log.WarnContext(ctx, c.name+" has ended: starting it again", "words", c.words(e))
			if time.Since(since) > longest {
				delay = shortest
			}
		}
		if !e.pause(ctx, delay) {
			return
		}
		delay = min(2*delay, longest)
		var err error
		id, err = c.start(ctx, e)
		switch {
		case err == nil:
			e.problems.Set(c.name, "")
		case e.ID().Alive() && ctx.Err() == nil:
			e.cfg.Log.ErrorContext(ctx, c.name+" can't be started again", "error", err)
			e.problems.Set(c.name, fmt.Sprintf("%s: %v", c.lack, err))
		}
	}
}

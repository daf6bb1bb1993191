// Package dockercontext looks after Docker's contexts on behalf of docker rd: it finds
// out which ones work, keeps a context for each of our engines, and changes the current
// context only where it is provably broken, to put it back afterwards.
//
// What it promises:
//
//   - A context that is not ours is never changed or removed. Ours is a context that
//     carries our mark, with the instance's uid and the context's own name.
//   - The current context is changed only by [Config.Promote], [Config.Demote],
//     [Config.Mend] and [Config.Fix], only if it is still what was judged, and only
//     after it has been recorded what was there before.
//   - The current context is never left pointing at a context that we remove.
//   - Where there is nothing to change, nothing is written.
//
// The current context, throughout, is the one stored in config.json; what a shell's
// environment makes of it is the effective context.
//
// All methods may be called from several goroutines and processes at a time. They end
// with their context; none of them prints or logs.
package dockercontext

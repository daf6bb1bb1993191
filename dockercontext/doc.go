// Package dockercontext looks after Docker's contexts on behalf of docker rd: it finds
// out which ones work, keeps a context for each of our engines, and changes the current
// context only where it is provably broken, to put it back afterwards.
//
// What it promises:
//
//   - A context that is not ours is never changed or removed. Ours is a context that
//     carries our mark, with the instance's uid and the context's own name.
//   - Names are not ownership: what is recorded of a context does not count any more once
//     the context of that name is somebody else's.
//   - The current context is changed only by [Config.Promote], [Config.Reconsider],
//     [Config.Demote], [Config.Mend] and [Finding.Fix], only if it is still what was judged,
//     and only after what was there before has been recorded. All of them do so through one
//     transaction, tx, which exists under the promotion lock.
//   - A default socket is claimed only where nobody listens, by [Config.Claim], and given
//     back only if it is still ours: see package claim.
//   - The current context is never left pointing at a context that we remove.
//   - Where there is nothing to change, nothing is written.
//
// The current context, throughout, is the one stored in config.json; what a shell's
// environment makes of it is the effective context.
//
// All methods may be called from several goroutines and processes at a time. They end
// with their context; none of them prints or logs.
package dockercontext

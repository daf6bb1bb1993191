// Package dockercontext manages Docker contexts for docker rd: it probes which ones work, keeps
// one for each of our engines, and changes the current context only if it is provably broken,
// to put it back afterwards.
//
// It promises:
//
//   - A context that is not ours is never changed or removed. Ours carries our mark, with the
//     instance's uid and the context's own name.
//   - Names are not ownership: a record is void once the context of its name is somebody else's.
//   - The current context is changed only by [Config.Promote], [Config.GiveBack],
//     [Config.Demote], [Config.Repair] and [Finding.Fix], only if it is still what was judged,
//     and only after the previous one has been recorded. All of them do so through one
//     transaction, tx, which exists under the promotion lock.
//   - A default socket is claimed only if nobody listens there, by [Config.Claim], and given
//     back only if it is still ours: see package claim.
//   - The current context never points at a context that we remove.
//   - If there is nothing to change, nothing is written.
//
// The current context is the one stored in config.json; the effective context is what a shell's
// environment makes of it.
//
// All methods may be called by several goroutines and processes at a time. They end with their
// context; none of them prints or logs.
package dockercontext

// Package requests is the way from commands to the supervisor: what people ask of a running
// instance and its engine. It is the opposite direction of mirroring.
//
// A [Request] is one file in the instance's directory of requests. [Submit] makes it, and
// [Await] waits for its [Outcome]; both run in the command's process. In the supervisor
// [Follow] brings the requests and an [Executor] does them, in the goroutine that owns the
// [mirror.Store]. What becomes of a request is recorded on its object in the state file before
// the request goes.
package requests

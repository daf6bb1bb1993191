package commands

import (
	"fmt"
	"strings"

	"github.com/docker-rd/docker-rd/client"
	"github.com/docker-rd/docker-rd/instance"
	"github.com/docker-rd/docker-rd/mirror/state"
)

// Words that sum up an instance.
const (
	wordStarting     = "starting"
	wordReady        = "ready"
	wordRunning      = "running"
	wordUnresponsive = "unresponsive"
	wordUnreachable  = "unreachable"
	wordRestarting   = "restarting"
	wordStopping     = "stopping"
	wordStopped      = "stopped"
	wordFailed       = "failed"
	wordUnsupervised = "unsupervised"
	wordUnusable     = "unusable"
)

// statusWords are all words that sum up an instance, with their meanings.
var statusWords = [][2]string{
	{wordStarting, "it is being started"},
	{wordReady, "its engine can be used, and its mirror is complete"},
	{wordRunning, "its engine can be used, its mirror is not complete"},
	{wordUnresponsive, "its engine does not answer"},
	{wordUnreachable, "no connection to its engine is possible; that is tried again"},
	{wordRestarting, "its engine has ended, and is started again"},
	{wordStopping, "it is being stopped"},
	{wordStopped, "nothing of it runs"},
	{wordFailed, `its last start or its engine has failed: "status" shows why`},
	{wordUnsupervised, `its engine runs, but no supervisor: "start" adopts it`},
	{wordUnusable, "its settings can't be read"},
}

// statusHelp lists the words for a help text.
func statusHelp() string {
	var b strings.Builder
	for _, w := range statusWords {
		fmt.Fprintf(&b, "  %-12s  %s\n", w[0], w[1])
	}
	return b.String()
}

// reasonWords are the words for an engine that a supervisor has and that can't be used, by the
// reason. A supervisor that has just begun has no reason yet.
var reasonWords = map[state.Reason]string{
	"":                        wordStarting,
	state.ReasonStarting:      wordStarting,
	state.ReasonUnresponsive:  wordUnresponsive,
	state.ReasonConnectFailed: wordUnreachable,
	state.ReasonExited:        wordRestarting,
	state.ReasonStopped:       wordStopping,
	state.ReasonCrashLoop:     wordFailed,
	state.ReasonFailed:        wordFailed,
}

// statusWord sums up an instance in a word.
func statusWord(o instance.Observation, i *instance.Instance) string {
	switch c := o.Condition(state.EngineReady); {
	case o.Condition(state.Ready).Status == state.True:
		return wordReady
	case o.Live && c.Status == state.True:
		return wordRunning // the mirror is not synced
	case client.LastFailure(o) != nil && (o.Live || client.Stopped(i)):
		return wordFailed
	case o.Live:
		return reasonWords[c.Reason]
	case o.Supervised && !isDying(o):
		return wordStarting
	case !client.Stopped(i):
		return wordUnsupervised
	}
	return wordStopped
}

// isDying reports whether the holder of the supervisor's lock is the supervisor that wrote the
// state, which was killed: the system ends its threads one after another.
func isDying(o instance.Observation) bool {
	return !o.Live && o.State != nil && o.State.Supervisor != nil && o.State.Supervisor.PID == o.Holder.PID
}

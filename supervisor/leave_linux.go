package supervisor

import (
	"log/slog"

	"github.com/docker-rd/docker-rd/engine/processes"
	"github.com/docker-rd/docker-rd/instance"
)

// leaveCaller takes this process out of the session, service or job that it was started
// from, so that it does not end with that. Who may not do so stays: an ordinary user. What
// is returned is to be called at the end.
func leaveCaller(i *instance.Instance, log *slog.Logger) (back func()) {
	back, err := processes.Leave("docker-rd-" + i.UID + "-supervisor")
	if err != nil {
		log.Info("supervisor stays in the control groups of who started it", "error", err)
	}
	return back
}

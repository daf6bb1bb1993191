package supervisor

import (
	"log/slog"

	"github.com/docker-rd/docker-rd/engine/processes"
	"github.com/docker-rd/docker-rd/instance"
)

// leaveCaller moves this process out of the control groups of the session, service or job
// that started it, so that it does not end with them. An ordinary user may not do that, and
// stays. Back is to be called at the end.
func leaveCaller(i *instance.Instance, log *slog.Logger) (back func()) {
	back, err := processes.Leave("docker-rd-" + i.UID + "-supervisor")
	if err != nil {
		log.Info("supervisor stays in the control groups of its caller", "error", err)
	}
	return back
}

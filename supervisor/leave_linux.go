package supervisor

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/docker-rd/docker-rd/engine/processes"
	"github.com/docker-rd/docker-rd/instance"
	"github.com/docker-rd/docker-rd/internal/systemd"
)

// leaveCaller moves this process out of the control groups of the session, service or job
// that started it, so that it does not end with them. An ordinary user may only do that by the
// user's own systemd, and stays where that ends with the last session. Back is to be called at the end.
func leaveCaller(i *instance.Instance, log *slog.Logger) (back func()) {
	name, back := "docker-rd-"+i.UID+"-supervisor", func() {}
	var err error
	if os.Geteuid() == 0 {
		back, err = processes.Leave(name)
	} else {
		err = moveToScope(fmt.Sprintf("%s-%d.scope", name, os.Getpid()), "docker rd supervisor "+i.Name)
	}
	if err != nil {
		log.Info("supervisor stays in the control groups of its caller", "error", err)
	}
	return back
}

// scopeTimeout is how long the user's systemd may take. It takes some 10 ms.
const scopeTimeout = 5 * time.Second

func moveToScope(name, description string) error {
	m, err := systemd.FindScopes()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), scopeTimeout)
	defer cancel()
	return m.MoveToScope(ctx, name, description, os.Getpid())
}

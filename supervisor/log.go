package supervisor

import (
	"context"
	"io"
	"log/slog"
	"sync"

	"github.com/docker-rd/docker-rd/instance"
	"github.com/docker-rd/docker-rd/internal/logfile"
)

// newLog returns the log of an instance's supervisor, which writes to w.
func newLog(w io.Writer, i *instance.Instance) *slog.Logger {
	return slog.New(slog.NewTextHandler(w, nil)).With("instance", i.Name)
}

// keepLogs rotates the instance's logs when they grow too large, until stop is called.
func keepLogs(i *instance.Instance, log *slog.Logger) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var keeper sync.WaitGroup
	keeper.Go(func() {
		logfile.Keep(ctx, func(err error) { log.Error("a log can't be rotated and is emptied", "error", err) },
			i.Paths.EngineLog(), i.Paths.SupervisorLog())
	})
	return func() {
		cancel()
		keeper.Wait()
	}
}

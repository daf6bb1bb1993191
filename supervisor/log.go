package supervisor

import (
	"context"
	"io"
	"log/slog"
	"sync"

	"github.com/docker-rd/docker-rd/instance"
	"github.com/docker-rd/docker-rd/internal/logfile"
)

// newLog returns the log that an instance's supervisor writes to w. lastError reads it.
func newLog(w io.Writer, i *instance.Instance) *slog.Logger {
	return slog.New(slog.NewTextHandler(w, nil)).With("instance", i.Name)
}

// keepLogs has the instance's logs put aside when they grow too large, until stop is called.
func keepLogs(i *instance.Instance, log *slog.Logger) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var keeper sync.WaitGroup
	keeper.Go(func() {
		logfile.Keep(ctx, func(err error) { log.Error("a log can't be put aside and is emptied", "error", err) },
			i.Paths.EngineLog(), i.Paths.SupervisorLog())
	})
	return func() {
		cancel()
		keeper.Wait()
	}
}

package supervisor

import (
	"io"
	"log/slog"

	"github.com/docker-rd/docker-rd/instance"
)

// newLog returns the log that an instance's supervisor writes to w. lastError reads it.
func newLog(w io.Writer, i *instance.Instance) *slog.Logger {
	return slog.New(slog.NewTextHandler(w, nil)).With("instance", i.Name)
}

package engine

import (
	"log/slog"

	"github.com/docker-rd/docker-rd/engine/lima"
	"github.com/docker-rd/docker-rd/instance"
)

// limaDriver is the driver DriverLima. Docker reaches the machine by a socket that leads there.
type limaDriver struct {
	*lima.Config
	ownSocket
}

func newLima(i *instance.Instance, log *slog.Logger) limaDriver {
	return limaDriver{&lima.Config{Instance: i, Log: log}, ownSocket(i.Paths.Socket())}
}

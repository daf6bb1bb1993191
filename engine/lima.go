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

// SSH returns the arguments by which ssh logs in to the virtual machine of the instance's engine,
// nil if it has none.
func SSH(i *instance.Instance) []string {
	if i.Settings.Driver != instance.DriverLima {
		return nil
	}
	return newLima(i, nil).SSH()
}

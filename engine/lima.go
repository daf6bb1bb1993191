package engine

import (
	"context"
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
	const billion = 1e9
	return limaDriver{ownSocket: ownSocket(i.Paths.Socket()), Config: &lima.Config{
		Name:       i.Name,
		Home:       i.Paths.Data,
		StateDir:   i.Paths.EngineState(),
		EngineFile: i.Paths.EngineFile(),
		LogPath:    i.Paths.EngineLog(),
		Socket:     i.Paths.Socket(),
		Template:   i.Settings.Template,
		CPUs:       int(i.Settings.NanoCPUs / billion),
		Memory:     i.Settings.Memory,
		Disk:       i.Settings.Disk,
		Log:        log,
	}}
}

// SSH returns the arguments by which ssh logs in to the virtual machine of the instance's engine,
// nil if it has none.
func SSH(i *instance.Instance) []string {
	if i.Settings.Driver != instance.DriverLima {
		return nil
	}
	return newLima(i, nil).SSH()
}

// Adopt implements [Driver].
func (d limaDriver) Adopt(ctx context.Context) (Running, error) { return running(d.Config.Adopt(ctx)) }

// Start implements [Driver].
func (d limaDriver) Start(ctx context.Context) (Running, error) { return running(d.Config.Start(ctx)) }

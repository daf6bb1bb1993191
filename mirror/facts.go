package mirror

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/containerd/platforms"
	"github.com/moby/moby/client"

	"github.com/docker-rd/docker-rd/internal/endpoint"
	"github.com/docker-rd/docker-rd/mirror/state"
)

// facts implements [Engine]. The engine's clock is taken for the given moment.
func (m *Moby) facts(ctx context.Context, moment time.Time) (e state.Engine, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// Not /version: it says little more, and dockerd runs two programs for each of them.
	var about endpoint.Pong
	var aboutErr error
	done := make(chan struct{})
	go func() {
		defer close(done)
		ping, stop := context.WithTimeout(ctx, pingTimeout)
		defer stop()
		if about, aboutErr = m.About(ping); aboutErr != nil {
			cancel() // an engine that does not answer this answers nothing
		}
	}()
	begin := time.Now()
	result, err := m.Info(ctx, client.InfoOptions{})
	margin := time.Since(begin)
	<-done
	if aboutErr != nil {
		err = aboutErr
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return e, errNoAnswer
	}
	if err != nil {
		return e, fmt.Errorf("ask the engine what it is: %w", err)
	}
	info := result.Info
	e = state.Engine{
		ID:         info.ID,
		Version:    info.ServerVersion,
		APIVersion: about.APIVersion,
		OS:         info.OSType,
		Arch:       goarch(info.Architecture),
		Rootless:   slices.Contains(info.SecurityOptions, "name=rootless"),
		Name:       info.Name, StorageDriver: info.Driver, NCPU: info.NCPU, MemTotal: info.MemTotal,
	}
	m.dialect = dialect{
		podman:  about.Podman,
		unpacks: slices.Contains(info.DriverStatus, [2]string{"driver-type", "io.containerd.snapshotter.v1"}),
	}
	if about.Podman {
		e.ID = "" // it makes up another at each call
	}
	clock := parseTime(info.SystemTime)
	if clock.IsZero() {
		// Some engine that does not tell. Ours may be ahead of its clock.
		m.clock = engineClock{begin: moment.Add(-time.Minute), margin: time.Hour}
		return e, nil
	}
	m.clock = engineClock{begin: clock.Add(-begin.Add(margin).Sub(moment)), offset: clock.Sub(begin), margin: margin}
	return e, nil
}

// goarch returns Go's name for an architecture as uname(2) names it, which is how engines
// describe their hosts; everything else, images too, is described with Go's.
func goarch(machine string) string {
	switch machine {
	case "i486", "i586", "i686":
		machine = "i386"
	case "armv6l", "armv7l", "armv8l":
		machine = "armhf"
	}
	return platforms.Normalize(platforms.Platform{Architecture: machine}).Architecture
}

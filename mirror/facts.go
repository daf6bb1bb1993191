package mirror

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/containerd/platforms"
	"github.com/moby/moby/client"

	"github.com/docker-rd/docker-rd/mirror/state"
)

// facts implements [Engine]. The engine's clock is taken for the given moment.
func (m *Moby) facts(ctx context.Context, moment time.Time, pingTimeout time.Duration) (e state.Engine, err error) {
	ping, stop := context.WithTimeout(ctx, pingTimeout)
	about, err := m.About(ping)
	stop()
	begin := time.Now()
	var result client.SystemInfoResult
	if err == nil {
		// Not /version: it adds little, and dockerd runs two programs for it.
		result, err = m.Info(ctx, client.InfoOptions{})
	}
	margin := time.Since(begin)
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
		Rootless:   m.rootless || slices.Contains(info.SecurityOptions, "name=rootless"),
		Name:       info.Name, StorageDriver: info.Driver, NCPU: info.NCPU, MemTotal: info.MemTotal,
	}
	m.dialect = dialect{
		podman:        about.Podman,
		quietNetworks: about.Podman && majorOf(info.ServerVersion) < 5,
		unpacks:       slices.Contains(info.DriverStatus, [2]string{"driver-type", "io.containerd.snapshotter.v1"}),
	}
	if about.Podman {
		e.ID = "" // another one in each answer
	}
	clock := ParseTime(info.SystemTime)
	if clock.IsZero() {
		// Not every engine reports its time. Our clock may be ahead of its clock.
		m.clock = engineClock{begin: moment.Add(-time.Minute), margin: time.Hour}
		return e, nil
	}
	m.clock = engineClock{begin: clock.Add(-begin.Add(margin).Sub(moment)), offset: clock.Sub(begin), margin: margin}
	return e, nil
}

// majorOf returns the first number of a version, 0 if there is none.
func majorOf(version string) (major int) {
	first, _, _ := strings.Cut(version, ".")
	major, _ = strconv.Atoi(first)
	return major
}

// goarch returns Go's name for an architecture of uname(2), as engines describe their hosts.
// Images and everything else use Go's names.
func goarch(machine string) string {
	switch machine {
	case "i486", "i586", "i686":
		machine = "i386"
	case "armv6l", "armv7l", "armv8l":
		machine = "armhf"
	}
	return platforms.Normalize(platforms.Platform{Architecture: machine}).Architecture
}

// Package mounts finds mount points.
package mounts

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/moby/sys/mountinfo"
)

// Below returns the mount points at and below dir in the process's mount namespace; none if dir
// does not exist.
func Below(dir string) ([]string, error) {
	real, err := filepath.EvalSymlinks(dir) // the kernel lists real paths
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	infos, err := mountinfo.GetMounts(mountinfo.PrefixFilter(real))
	if err != nil {
		return nil, fmt.Errorf("read mounts: %w", err)
	}
	points := make([]string, len(infos))
	for n, info := range infos {
		points[n] = info.Mountpoint
	}
	return points, nil
}

// IsPrivate reports whether later mounts below a mount point do not propagate to mount namespaces
// that are made from the process's.
func IsPrivate(point string) (bool, error) {
	infos, err := mountinfo.GetMounts(mountinfo.SingleEntryFilter(point))
	if err != nil {
		return false, fmt.Errorf("read mounts: %w", err)
	}
	if len(infos) == 0 {
		return false, fmt.Errorf("nothing is mounted at %q", point)
	}
	return !strings.Contains(infos[0].Optional, "shared:"), nil
}

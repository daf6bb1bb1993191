package dockerd

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/docker-rd/docker-rd/internal/process"
)

// openNamespaces opens the network and the mount namespace of a process.
func openNamespaces(id process.ID) ([]*os.File, error) {
	var files []*os.File
	for _, name := range []string{"net", "mnt"} {
		f, err := os.Open(fmt.Sprintf("/proc/%d/ns/%s", id.PID, name))
		if err != nil {
			closeAll(files)
			return nil, err
		}
		files = append(files, f)
	}
	if !id.Alive() {
		closeAll(files)
		return nil, process.ErrGone
	}
	return files, nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		_ = f.Close()
	}
}

func inode(pid int, ns string) uint64 {
	var st unix.Stat_t
	if unix.Stat(fmt.Sprintf("/proc/%d/ns/%s", pid, ns), &st) != nil {
		return 0
	}
	return st.Ino
}

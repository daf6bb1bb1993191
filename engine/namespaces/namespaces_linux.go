package namespaces

import (
	"fmt"
	"os"

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

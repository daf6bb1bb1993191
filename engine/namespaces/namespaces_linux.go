package namespaces

import (
	"fmt"
	"os"

	"github.com/docker-rd/docker-rd/internal/process"
)

// openNamespaces opens namespaces of a process. The caller closes them.
func openNamespaces(id process.ID, names ...string) ([]*os.File, error) {
	var files []*os.File
	for _, name := range names {
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

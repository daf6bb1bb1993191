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
			CloseAll(files)
			return nil, err
		}
		files = append(files, f)
	}
	if !id.Alive() {
		CloseAll(files)
		return nil, process.ErrGone
	}
	return files, nil
}

// CloseAll closes the files.
func CloseAll(files []*os.File) {
	for _, f := range files {
		_ = f.Close()
	}
}

//go:build unix

package instance

import (
	"io/fs"
	"syscall"
)

// onDisk returns a file's identity, how many names it has, and what it takes on the disk.
func onDisk(info fs.FileInfo) (id fileID, links uint64, size int64) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return id, 1, info.Size()
	}
	const block = 512 // of st_blocks, whatever the file system's are
	return fileID{uint64(st.Dev), uint64(st.Ino)}, uint64(st.Nlink), int64(st.Blocks) * block
}

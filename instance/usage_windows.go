package instance

import "io/fs"

// onDisk returns a file's size; what it takes on the disk is not known.
func onDisk(info fs.FileInfo) (id fileID, links uint64, size int64) { return id, 1, info.Size() }

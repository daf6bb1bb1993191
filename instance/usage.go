package instance

import (
	"context"
	"io/fs"
	"path/filepath"
)

// DiskUsage returns the size of the instance's data on the disk in bytes. Whole is false if ctx
// has ended before, or something could not be read.
func (i *Instance) DiskUsage(ctx context.Context) (bytes int64, whole bool) {
	whole = true
	seen := map[fileID]bool{} // hard links count once
	err := filepath.WalkDir(i.Paths.Data, func(_ string, entry fs.DirEntry, err error) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			whole = false
			return nil
		}
		info, err := entry.Info()
		if err != nil {
			return nil // it is gone by now
		}
		id, links, size := onDisk(info)
		if links > 1 && !info.IsDir() {
			if seen[id] {
				return nil
			}
			seen[id] = true
		}
		bytes += size
		return nil
	})
	return bytes, whole && err == nil
}

// fileID identifies a file on this machine.
type fileID struct{ device, inode uint64 }

package instance

import (
	"context"
	"io/fs"
	"path/filepath"
)

// DiskUsage returns how many bytes the instance's data takes on the disk. Whole is false
// where ctx ended before all was counted, or something could not be read.
func (i *Instance) DiskUsage(ctx context.Context) (bytes int64, whole bool) {
	whole = true
	seen := map[fileID]bool{} // a file with several names takes its place once
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

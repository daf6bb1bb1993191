//go:build !windows

package dockercontext

import (
	"io/fs"
	"os"
	"path"
	"syscall"
)

// giveToOwner gives what root has made in the store for the context name to the owner
// of the configuration. He could not remove it otherwise, nor make contexts himself.
// The tree is in his hands: no link is followed out of it, and a file that has another
// name elsewhere is not given away. What can't be given away stays root's; the context
// works all the same.
func (c *Config) giveToOwner(name string) {
	if os.Geteuid() != 0 {
		return
	}
	info, err := os.Stat(c.o.Dir)
	if err != nil {
		return
	}
	owner := info.Sys().(*syscall.Stat_t)
	if owner.Uid == 0 {
		return
	}
	root, err := os.OpenRoot(c.o.Dir)
	if err != nil {
		return
	}
	defer root.Close()
	paths := []string{"contexts", "contexts/meta", "contexts/tls"}
	for _, kind := range []string{"meta", "tls"} {
		_ = fs.WalkDir(root.FS(), path.Join("contexts", kind, contextID(name)), func(p string, _ fs.DirEntry, err error) error {
			if err == nil {
				paths = append(paths, p)
			}
			return err
		})
	}
	for _, p := range paths {
		info, err := root.Lstat(p)
		if err != nil {
			continue
		}
		if st := info.Sys().(*syscall.Stat_t); st.Uid == 0 && (info.IsDir() || st.Nlink == 1) {
			_ = root.Lchown(p, int(owner.Uid), int(owner.Gid))
		}
	}
}

// giveLike gives a file that root has made to the owner of the one that like describes.
func giveLike(f *os.File, like os.FileInfo) error {
	if os.Geteuid() != 0 {
		return nil
	}
	st := like.Sys().(*syscall.Stat_t)
	return f.Chown(int(st.Uid), int(st.Gid))
}

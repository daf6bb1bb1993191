//go:build !windows

package dockercontext

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path"
	"strconv"
	"strings"
	"syscall"

	"github.com/docker-rd/docker-rd/internal/files"
)

// giveToOwner gives what root has made in the store for the context name to the owner of the
// configuration, who could not remove it otherwise, nor make contexts. The owner controls the
// tree: no link is followed out of it, and a file with another name stays root's. A failure is
// ignored; the context works all the same.
func (c *Config) giveToOwner(name string) {
	uid, gid, other := files.OtherOwner(c.o.Dir)
	if !other {
		return
	}
	root, err := os.OpenRoot(c.o.Dir)
	if err != nil {
		return
	}
	defer root.Close()
	paths := []string{"contexts", "contexts/meta", "contexts/tls"}
	for _, kind := range []string{"meta", "tls"} {
		_ = fs.WalkDir(root.FS(), path.Join("contexts", kind, c.contextID(name)), func(p string, _ fs.DirEntry, err error) error {
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
			_ = root.Lchown(p, uid, gid)
		}
	}
}

// barred returns a sentence on why the owner of the configuration can't use the engine of the
// context name, "" if that is possible or unknown: root's engines have sockets for root only,
// and `sudo` may work on its caller's configuration.
func (c *Config) barred(name string) string {
	uid, gid, other := files.OtherOwner(c.o.Dir)
	if !other {
		return ""
	}
	e, err := c.Endpoint(name)
	if err != nil || e.Scheme() != "unix" {
		return ""
	}
	socket := strings.TrimPrefix(e.Host, "unix://")
	if _, err := os.Stat(socket); err != nil || mayOpen(uid, gid, socket) {
		return ""
	}
	who := strconv.Itoa(uid)
	if u, err := user.LookupId(who); err == nil {
		who = u.Username
	}
	return fmt.Sprintf("The Docker configuration in %s belongs to %s, who may not open this engine's socket: only root can use it, and it is not made current there.", c.o.Dir, who)
}

// mayOpen reports whether a user may connect to a socket. A process of that user tries it, since
// access control lists and the directories above count, too.
func mayOpen(uid, gid int, socket string) bool {
	id := &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	if u, err := user.LookupId(strconv.Itoa(uid)); err == nil {
		if gid, err := strconv.ParseUint(u.Gid, 10, 32); err == nil {
			id.Gid = uint32(gid)
		}
		groups, _ := u.GroupIds()
		for _, g := range groups {
			if gid, err := strconv.ParseUint(g, 10, 32); err == nil {
				id.Groups = append(id.Groups, uint32(gid))
			}
		}
	}
	cmd := exec.Command("/bin/sh", "-c", `test -w "$1"`, "sh", socket)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: id}
	err := cmd.Run()
	_, answered := errors.AsType[*exec.ExitError](err)
	return !answered // nothing follows from a test that can't run
}

// giveLike gives a file of root's to the owner in like.
func giveLike(f *os.File, like os.FileInfo) error {
	if os.Geteuid() != 0 {
		return nil
	}
	st := like.Sys().(*syscall.Stat_t)
	return f.Chown(int(st.Uid), int(st.Gid))
}

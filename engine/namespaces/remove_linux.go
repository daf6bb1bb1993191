package namespaces

import (
	"context"
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// RemoveAll removes a directory as [os.RemoveAll] does, and also files in it that containers have
// made as other users: these have subordinate ids of the user's.
func RemoveAll(dir string) error {
	if err := os.RemoveAll(dir); !errors.Is(err, os.ErrPermission) || os.Geteuid() == 0 {
		return err
	}
	ids, err := OwnMap()
	if err != nil {
		return err
	}
	h, err := startUserHelper(ids, nil, &syscall.SysProcAttr{Setsid: true, Cloneflags: unix.CLONE_NEWUSER}, nil, nil)
	if err != nil {
		return err
	}
	err = h.Run(context.Background(), Plan{Remove: dir})
	<-h.Exited
	return err
}

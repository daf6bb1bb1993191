package namespaces

import (
	"context"
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// RemoveAll removes directories as [os.RemoveAll] does, and also files in them that containers
// have made as other users: these have subordinate ids of the user's.
func RemoveAll(ids IDMap, dirs ...string) error {
	var left []string
	for _, dir := range dirs {
		err := os.RemoveAll(dir)
		if errors.Is(err, os.ErrPermission) {
			left = append(left, dir)
			continue
		}
		if err != nil {
			return err
		}
	}
	if len(left) == 0 {
		return nil
	}
	h, err := startUserHelper(ids, nil, &syscall.SysProcAttr{Setsid: true, Cloneflags: unix.CLONE_NEWUSER}, nil, nil)
	if err != nil {
		return err
	}
	err = h.Run(context.Background(), Plan{Remove: left})
	<-h.Exited
	return err
}

// removeAll is the helper's part.
func removeAll(dirs []string) error {
	var errs []error
	for _, dir := range dirs {
		errs = append(errs, os.RemoveAll(dir))
	}
	return errors.Join(errs...)
}

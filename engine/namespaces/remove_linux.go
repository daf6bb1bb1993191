package namespaces

import (
	"context"
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// RemoveAll removes directories with all that is in them, as [os.RemoveAll] does, and also
// what containers have made there as other users: their ids are ids of the user's.
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

// removeAll is the helper's part. The directories above may be the user's, and are.
func removeAll(dirs []string) error {
	var errs []error
	for _, dir := range dirs {
		errs = append(errs, os.RemoveAll(dir))
	}
	return errors.Join(errs...)
}

//go:build !windows && !linux && !darwin

package configfile

import (
	"errors"
	"os"
)

func copyAttributes(*os.File, string) error { return nil }

func isMountPoint(string) bool { return false } // the rename fails with EBUSY

func isImmutable(string) bool { return false } // the rename fails with EPERM

func takeLease(*os.File) error { return errors.ErrUnsupported }

func endLease(*os.File) error { return nil }

func beingWritten(*os.File) bool { return false }

//go:build !linux

package configfile

import (
	"errors"
	"os"
)

// There are no leases that a program could take on a local file.

func takeLease(*os.File) error { return errors.ErrUnsupported }

func endLease(*os.File) error { return nil }

func beingWritten(*os.File) bool { return false }

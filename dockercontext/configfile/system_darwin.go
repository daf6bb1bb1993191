package configfile

import (
	"errors"
	"os"
)

// dropInherited: access control lists are no attributes here, and are not kept.
func dropInherited(*os.File) error { return nil }

// keptAttribute reports whether an extended attribute goes over to the new file, and
// whether a failure to do so matters.
func keptAttribute(string) (keep, must bool) { return true, false }

func isMountPoint(string) bool { return false } // there are no bind mounts of files

func isImmutable(string) bool { return false } // faccessat(2) says so

// There are no leases.

func takeLease(*os.File) error { return errors.ErrUnsupported }

func endLease(*os.File) error { return nil }

func beingWritten(*os.File) bool { return false }

package configfile

import "os"

// dropInherited: access control lists are no attributes here, and are not kept.
func dropInherited(*os.File) error { return nil }

// keptAttribute reports whether an extended attribute goes over to the new file, and
// whether a failure to do so matters.
func keptAttribute(string) (keep, must bool) { return true, false }

func isImmutable(string) bool { return false } // faccessat(2) says so

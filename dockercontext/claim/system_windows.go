package claim

import "errors"

// Nothing is claimed here: a named pipe can't be a link.
func linkID(string) (device, inode uint64, err error) { return 0, 0, errors.ErrUnsupported }

func nobodyListens(error) bool { return false }

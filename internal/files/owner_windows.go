package files

// OtherOwner reports none: there is no root.
func OtherOwner(string) (uid, gid int, other bool) { return 0, 0, false }

// IsOthers reports no: what is in a user's directory is the user's.
func IsOthers(string) bool { return false }

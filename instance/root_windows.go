package instance

// isRoot is about drivers that Windows does not have.
func isRoot() bool { return false }

// foreign is about users whom Windows does not have.
func foreign(string) bool { return false }

package engine

// isRoot is about drivers that Windows does not have.
func isRoot() bool { return false }

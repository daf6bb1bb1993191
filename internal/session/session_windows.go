package session

// private is about directories that Windows does not have.
func private(string) bool { return false }

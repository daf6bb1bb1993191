//go:build !linux && !darwin

package files

func exchange(string, string) error { return ErrNoExchange }

func renameNew(from, to string) error { return linkNew(from, to) }

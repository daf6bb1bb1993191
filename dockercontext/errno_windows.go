package dockercontext

import (
	"errors"

	"golang.org/x/sys/windows"
)

// isRefused: Windows sockets have error numbers of their own.
func isRefused(err error) bool { return errors.Is(err, windows.WSAECONNREFUSED) }

// Package machine identifies machines, so that files of another machine on a shared home
// are recognized as such.
package machine

import (
	"os"
	"sync"
)

// An ID identifies a machine.
type ID struct {
	ID   string `json:"id"`   // the operating system's own, or made from the host name
	Host string `json:"host"` // its name, for people
}

// Current returns the identity of this machine. It does not change while the
// system is installed.
var Current = sync.OnceValue(func() ID {
	host, err := os.Hostname()
	if err != nil {
		host = "localhost"
	}
	id := systemID()
	if id == "" {
		id = "host:" + host
	}
	return ID{ID: id, Host: host}
})

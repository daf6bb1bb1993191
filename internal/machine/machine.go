// Package machine identifies machines, to recognize files of another machine on a shared home.
package machine

import (
	"cmp"
	"os"
	"sync"
)

// An ID identifies a machine.
type ID struct {
	ID   string `json:"id"`   // the operating system's, or derived from the host name
	Host string `json:"host"` // its name, for people
}

// Current returns the identity of this machine, which lasts as long as its installation.
var Current = sync.OnceValue(func() ID {
	host, err := os.Hostname()
	if err != nil {
		host = "localhost"
	}
	id := cmp.Or(systemID(), "host:"+host)
	return ID{ID: id, Host: host}
})

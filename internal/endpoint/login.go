package endpoint

import (
	"context"
	"sync"
	"time"
)

const (
	// maxLogins is the number of concurrent logins to one host: sshd refuses some of more than
	// ten, of all clients together (MaxStartups in sshd_config(5)).
	maxLogins = 5
	// loginPatience bounds the time that a login holds up others.
	loginPatience = 2 * time.Second
)

// logins are semaphores by host and port.
var logins sync.Map

// beginLogin waits until one more connection may log in to the host. The caller calls done after
// the login or its failure. The error is ctx's.
func beginLogin(ctx context.Context, host string) (done func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	at, _ := logins.LoadOrStore(host, make(chan struct{}, maxLogins))
	slots := at.(chan struct{})
	select {
	case slots <- struct{}{}:
		return func() { <-slots }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

package endpoint

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
)

const (
	// maxLogins is the number of concurrent logins to one host: sshd refuses some of more than
	// ten, of all clients together (MaxStartups in sshd_config(5)).
	maxLogins = 5
	// loginPatience bounds the time that a login holds up others: sshd counts one that takes long, too.
	loginPatience = 10 * time.Second
)

// logins are semaphores by host and port.
var logins sync.Map

// beginLogin waits until one more connection may log in to the host. The caller calls done after
// the login or its failure. The error is ctx's.
func beginLogin(ctx context.Context, host string) (done func(), err error) {
	at, _ := logins.LoadOrStore(host, semaphore.NewWeighted(maxLogins))
	slots := at.(*semaphore.Weighted)
	if err := slots.Acquire(ctx, 1); err != nil {
		return nil, err
	}
	return func() { slots.Release(1) }, nil
}

package endpoint

import (
	"context"
	"sync"
	"time"
)

const (
	// maxLogins is how many connections of this process to one host log in at a time:
	// sshd refuses some of more than ten (MaxStartups in sshd_config(5)), whoever they are
	// from.
	maxLogins = 5
	// loginPatience is how long a login is waited for before the next may begin. It is
	// longer than logins take, and not so long that slow ones hold up all others.
	loginPatience = 2 * time.Second
)

// logins has the logins under way by host and port: each a value in the channel.
var logins sync.Map

// beginLogin waits until one more connection may log in to the host. The caller calls done
// when that one has, or has failed. The error is that of ctx.
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

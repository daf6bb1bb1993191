package mirror

import (
	"testing"
	"time"

	"github.com/docker-rd/docker-rd/mirror/state"
)

func TestPaceLists(t *testing.T) {
	now := time.Now()
	for _, test := range []struct{ took, urgent, idle time.Duration }{
		{time.Millisecond, 9 * time.Millisecond, time.Second},
		{50 * time.Millisecond, 450 * time.Millisecond, 2450 * time.Millisecond},
		{10 * time.Second, time.Second, 30 * time.Second},
	} {
		p := newPass(NewSource(SourceOptions{}))
		for urgent, want := range map[bool]time.Duration{true: test.urgent, false: test.idle} {
			p.relist[state.Images] = urgent
			if due := p.listDue(state.Images); due.After(now) {
				t.Errorf("the first list is due in %v", due.Sub(now))
			}
			p.paceLists(state.Images, now, test.took)
			if got := p.listDue(state.Images).Sub(now); got != want {
				t.Errorf("a list that took %v, urgent %v: the next in %v, want %v", test.took, urgent, got, want)
			}
			clear(p.notYet)
			clear(p.idle)
		}
	}
}

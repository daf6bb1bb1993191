package top

import (
	"time"

	"github.com/docker-rd/docker-rd/mirror/state"
)

// usage is the usage of the visible containers, if it is on.
type usage struct {
	on     bool
	of     map[object]Usage
	asking map[object]bool
}

func (t *top) toggleUsage() {
	t.usage = usage{on: !t.usage.on, of: map[object]Usage{}, asking: map[object]bool{}}
	t.model.usage = t.usage.of
	t.refreshUsage()
}

// refreshUsage asks for the usage of the visible running containers, once at a time for each: an
// engine takes more than a second to answer.
func (t *top) refreshUsage() {
	if !t.usage.on || t.model.tab != containersTab || t.page != nil {
		return
	}
	rows := t.model.rows(time.Now())
	u, m := t.usage, t.model
	for _, r := range rows[min(m.first, len(rows)):min(m.first+t.pageSize(), len(rows))] {
		about := r.object
		v := m.views[about.instance]
		if v.State == nil || !v.Live || v.State.Containers[about.key].State != state.StateRunning {
			delete(u.of, about)
			continue
		}
		if u.asking[about] {
			continue
		}
		u.asking[about] = true
		go func() {
			now, err := t.Usage(t.ctx, about.instance, about.key)
			t.post(func() {
				delete(u.asking, about)
				if err != nil {
					delete(u.of, about)
					return
				}
				u.of[about] = now
			})
		}()
	}
}

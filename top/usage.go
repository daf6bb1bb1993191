package top

import (
	"time"

	"github.com/docker-rd/docker-rd/mirror/state"
)

func (t *top) toggleUsage() {
	if t.model.usage != nil {
		t.model.usage = nil
		return
	}
	t.model.usage, t.asking = map[object]Usage{}, map[object]bool{}
	t.refreshUsage()
}

// refreshUsage asks for the usage of the visible running containers, once at a time for each: an
// engine takes more than a second to answer.
func (t *top) refreshUsage() {
	m, known, asking := t.model, t.model.usage, t.asking
	if known == nil || m.tab != containersTab || t.page != nil {
		return
	}
	rows := m.rows(time.Now())
	for _, r := range rows[min(m.first, len(rows)):min(m.first+t.pageSize(), len(rows))] {
		about := r.object
		v := m.views[about.instance]
		if v.State == nil || !v.Live || v.State.Containers[about.key].State != state.StateRunning {
			delete(known, about)
			continue
		}
		if asking[about] {
			continue
		}
		asking[about] = true
		go func() {
			now, err := t.Usage(t.ctx, about.instance, about.key)
			t.post(func() {
				delete(asking, about)
				if err != nil {
					delete(known, about)
					return
				}
				known[about] = now
			})
		}()
	}
}

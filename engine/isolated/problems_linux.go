package isolated

import (
	"maps"
	"slices"
	"sync"
)

// problems are what does not work of a running engine.
type problems struct {
	mu      sync.Mutex
	of      map[string]Problem // by subject
	changed chan struct{}      // closed with the next change
}

// set sets the sentence for a subject; "" removes it.
func (p *problems) set(about, sentence string) { p.put(about, Problem{Words: sentence}) }

// put is set for a whole problem.
func (p *problems) put(about string, problem Problem) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.of[about] == problem {
		return
	}
	if p.of == nil {
		p.of = map[string]Problem{}
	}
	p.of[about] = problem
	if problem.Words == "" {
		delete(p.of, about)
	}
	if p.changed != nil {
		close(p.changed)
		p.changed = nil
	}
}

// list returns the problems, and a channel that is closed when they change.
func (p *problems) list() ([]Problem, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.changed == nil {
		p.changed = make(chan struct{})
	}
	var list []Problem
	for _, about := range slices.Sorted(maps.Keys(p.of)) {
		list = append(list, p.of[about])
	}
	return list, p.changed
}

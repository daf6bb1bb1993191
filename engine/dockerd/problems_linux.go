package dockerd

import (
	"maps"
	"slices"
	"sync"
)

// problems are what does not work of a running engine.
type problems struct {
	mu      sync.Mutex
	of      map[string]string // sentences, by what they are about
	changed chan struct{}     // closed with the next change
}

// set says what is wrong with something; "" says that nothing is.
func (p *problems) set(about, sentence string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.of[about] == sentence {
		return
	}
	if p.of == nil {
		p.of = map[string]string{}
	}
	p.of[about] = sentence
	if sentence == "" {
		delete(p.of, about)
	}
	if p.changed != nil {
		close(p.changed)
		p.changed = nil
	}
}

// list returns the sentences, and a channel that is closed when there are others.
func (p *problems) list() ([]string, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.changed == nil {
		p.changed = make(chan struct{})
	}
	var list []string
	for _, about := range slices.Sorted(maps.Keys(p.of)) {
		list = append(list, p.of[about])
	}
	return list, p.changed
}

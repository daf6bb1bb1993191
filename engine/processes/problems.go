package processes

import (
	"maps"
	"slices"
	"sync"
	"time"
)

// A Problem is something that does not work in a running engine.
type Problem struct {
	Words string // a sentence
	// Port is set where it is about a published port, in the form 127.0.0.1:80/tcp. It is over when
	// no container has the port, or, if Since is set, when the one that had it then has ended.
	Port  string
	Since time.Time
}

// Problems are what does not work in a running engine. The zero value has none.
type Problems struct {
	mu      sync.Mutex
	of      map[string]Problem // by subject
	changed chan struct{}      // closed with the next change
}

// Set sets the sentence for a subject; "" removes it.
func (p *Problems) Set(about, sentence string) { p.Put(about, Problem{Words: sentence}) }

// Put is Set for a whole problem.
func (p *Problems) Put(about string, problem Problem) {
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

// List returns the problems, and a channel that is closed when they change.
func (p *Problems) List() ([]Problem, <-chan struct{}) {
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

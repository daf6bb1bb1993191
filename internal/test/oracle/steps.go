package oracle

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"
)

// A Stepper does one random thing to an engine at a time. An error is no failure of the test: the
// engine refuses much.
type Stepper interface {
	Step(ctx context.Context)
	Record() *Steps
}

// Steps are what the drivers of all engines have: what the n-th step does depends on the seed
// alone, as far as the engine's answers do.
type Steps struct {
	rng          *rand.Rand
	seed, stream uint64
	steps        uint64

	// Excuses are what the engine has told nobody of.
	Excuses []Excuse
	// Done and Failed count the operations: many fail, as they would by hand.
	Done, Failed map[string]int
	Log          func(format string, args ...any)
}

func newSteps(seed, stream uint64) Steps {
	s := Steps{seed: seed, stream: stream, Done: map[string]int{}, Failed: map[string]int{}, Log: func(string, ...any) {}}
	s.next()
	return s
}

// Record returns what was done.
func (s *Steps) Record() *Steps { return s }

// next begins a step: however much chance the last one took, it makes no difference.
func (s *Steps) next() {
	s.steps++
	s.rng = rand.New(rand.NewPCG(s.seed, s.stream<<32|s.steps))
}

// An Excuse is what may differ between a state file and the engine until the next full
// sync, because the engine sends no event: the field of the object, or where they are
// empty all fields, or all objects of the kind.
type Excuse struct{ Kind, ID, Field string }

// Covers reports whether the difference is excused.
func (e Excuse) Covers(d Difference) bool {
	return d.Kind == e.Kind && (e.ID == "" || d.ID == e.ID) && (e.Field == "" || d.Field == e.Field)
}

func (s *Steps) excuse(kind, id string, fields ...string) {
	for _, field := range fields {
		s.Excuses = append(s.Excuses, Excuse{kind, id, field})
	}
}

type operation struct {
	name   string
	weight int
	run    func(context.Context) error
}

// step does one of the operations. Lost reports whether an error is that nobody listens.
func (s *Steps) step(ctx context.Context, ops []operation, lost func(error) bool) {
	s.next()
	total := 0
	for _, o := range ops {
		total += o.weight
	}
	n := s.rng.IntN(total)
	for _, o := range ops {
		if n -= o.weight; n >= 0 {
			continue
		}
		ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
		err := o.run(ctx)
		cancel()
		s.Done[o.name]++
		if err != nil {
			s.Failed[o.name]++
		}
		if lost(err) {
			time.Sleep(100 * time.Millisecond) // or all steps were over before the engine is back
		}
		s.Log("%d %s: %v", s.steps, o.name, err)
		return
	}
}

// Drive lets several drivers do so many steps together.
func Drive(ctx context.Context, drivers []Stepper, steps int) {
	var all sync.WaitGroup
	for _, d := range drivers {
		all.Go(func() {
			for range steps / len(drivers) {
				d.Step(ctx)
			}
		})
	}
	all.Wait()
}

func (s *Steps) pick(list ...string) string { return list[s.rng.IntN(len(list))] }

// oneOf returns the n-th of the objects that fit, or of all if any will do or none fits; ok is false
// if there is none.
func oneOf(all, fit []string, n int, any bool) (id string, ok bool) {
	if any || len(fit) == 0 {
		fit = all
	}
	if len(fit) == 0 {
		return "", false
	}
	return fit[n%len(fit)], true
}

func (s *Steps) labels() map[string]string {
	if s.rng.IntN(2) == 0 {
		return nil
	}
	labels := map[string]string{"oracle": s.pick("x", "", "<&>\u2028", `{"json":true}`), s.pick("k", "com.example/key"): "v"}
	if s.rng.IntN(3) == 0 {
		labels["com.docker.compose.project"], labels["com.docker.compose.service"] = "p", s.pick("", "s")
	}
	return labels
}

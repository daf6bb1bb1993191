package mirror

import "time"

const (
	// listShare is the part of the time that listing a kind again and again may
	// take: one in so many. No list waits for longer than maxListWait for that: what
	// took long may have been the connection.
	listShare   = 10
	maxListWait = time.Second
	// idleShare, minIdleWait and maxIdleWait are the same for what is not urgent, as
	// images are when containers come and go: an engine that keeps images in containerd
	// spends a millisecond on each that it lists.
	idleShare   = 50
	minIdleWait = time.Second
	maxIdleWait = 30 * time.Second
)

// A pace says when a kind may be listed again that has been listed.
type pace struct {
	notBefore time.Time
	idle      time.Time // nor, where that is not urgent, before
}

// listed notes that a list has begun and ended.
func (p *pace) listed(begin, end time.Time) {
	took := end.Sub(begin)
	p.notBefore = end.Add(min((listShare-1)*took, maxListWait))
	p.idle = end.Add(max(minIdleWait, min((idleShare-1)*took, maxIdleWait)))
}

// due returns when the kind may be listed.
func (p pace) due(urgent bool) time.Time {
	if urgent {
		return p.notBefore
	}
	return p.idle
}

const (
	// lateEvents is how many late events make it likely that some were lost: half of
	// what moby replays to a late subscriber.
	lateEvents = replayed / 2
	// maxSuspicion is how long a full sync waits for late events to end, suspectPause for
	// how many times as long as the last one took the engine is left alone before.
	maxSuspicion = 5 * time.Second
	suspectPause = 4
)

// A suspicion is that events were lost.
type suspicion struct {
	late      int       // events that came late so far
	since, at time.Time // when it arose, and when a full sync is due; zero for none
}

func (s suspicion) due(now time.Time) bool { return !s.at.IsZero() && !now.Before(s.at) }

// suspect notes late events, or that the engine's clock has jumped.
func (p *session) suspect(late int, jumped bool) {
	s := &p.suspicion
	s.late += late
	if s.late < lateEvents && !jumped {
		return
	}
	now := time.Now()
	s.late = 0
	if s.since.IsZero() {
		s.since = now
		p.src.opts.Log.Info("events came late or the engine's clock jumped: syncing in full once more")
	}
	// Once the wave is over, if it ends soon, and seldom enough to leave the engine alone.
	s.at = now.Add(4 * lateBy)
	if latest := s.since.Add(maxSuspicion); latest.Before(s.at) {
		s.at = latest
	}
	if earliest := p.ended.Add(suspectPause * p.cost); earliest.After(s.at) {
		s.at = earliest
	}
}

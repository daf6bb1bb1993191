package mirror

import "time"

const (
	// Listing a kind may take 1/listShare of the time. No list waits for longer than
	// maxListWait: the last one may have been slow for other reasons.
	listShare   = 10
	maxListWait = time.Second
	// idleShare, minIdleWait and maxIdleWait are the same for lists that are not urgent, such as
	// that of images when containers come and go: an engine with containerd's image store
	// spends a millisecond on each image.
	idleShare   = 50
	minIdleWait = time.Second
	maxIdleWait = 30 * time.Second
)

// A pace says when a kind may be listed again.
type pace struct {
	notBefore time.Time
	idle      time.Time // the same for a list that is not urgent
}

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
	// lateEvents is the number of late events at which some were probably lost: half of what
	// moby replays to a late subscriber.
	lateEvents = replayed / 2
	// maxSuspicion is how long a full sync waits for late events to end. Before it, the engine
	// is left alone for suspectPause times as long as the last one took.
	maxSuspicion = 5 * time.Second
	suspectPause = 4
)

// A suspicion says that events may have been lost.
type suspicion struct {
	late      int       // events that came late so far
	since, at time.Time // when it arose, and when the full sync is due; zero for none
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
	s.at = now.Add(4 * lateBy)
	if latest := s.since.Add(maxSuspicion); latest.Before(s.at) {
		s.at = latest
	}
	if earliest := p.ended.Add(suspectPause * p.cost); earliest.After(s.at) {
		s.at = earliest
	}
}

package mirror

import "time"

const (
	// cpuShare is the part of one processor that the mirror may use for long: one in
	// so many. Writing, which has a limit of its own, counts.
	cpuShare = 5
	// cpuBurst is how much processor time can be saved up for when much happens at
	// once.
	cpuBurst = 300 * time.Millisecond
	// cpuQuantum is what is waited for once all is used up: less is not worth the
	// wake-up.
	cpuQuantum = 20 * time.Millisecond
	// maxPause is the longest wait, whatever was used: a few hundred calls in a second
	// are always made.
	maxPause = 150 * time.Millisecond
)

// A budget paces the calls that events cause, by what the process uses: what a call
// costs depends on the engine, its objects and the machine.
type budget struct {
	used func() time.Duration // processor time used so far, or nil for no limit

	at    time.Time     // when it was last looked at
	was   time.Duration // what was used then
	left  time.Duration
	until time.Time // of the pause
	since time.Time // when the pause began, zero for none
}

// fill makes the budget full.
func (b *budget) fill(now time.Time) {
	if b.used != nil {
		*b = budget{used: b.used, at: now, was: b.used(), left: cpuBurst}
	}
}

// pause returns until when calls should wait; a time that has passed for not at all.
func (b *budget) pause(now time.Time) time.Time {
	if b.used == nil || now.Before(b.until) {
		return b.until
	}
	used := b.used()
	b.left = min(b.left+now.Sub(b.at)/cpuShare-(used-b.was), cpuBurst)
	b.at, b.was = now, used
	switch {
	case b.left > 0:
		b.since = time.Time{}
	case b.since.IsZero() || now.Sub(b.since) < maxPause:
		if b.since.IsZero() {
			b.since = now
		}
		b.until = now.Add(min((cpuQuantum-b.left)*cpuShare, b.since.Add(maxPause).Sub(now)))
		return b.until
	default:
		// Whatever else uses it all up, some calls are made.
		b.left, b.since = cpuQuantum, time.Time{}
	}
	b.until = time.Time{}
	return b.until
}

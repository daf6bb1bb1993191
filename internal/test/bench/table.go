//go:build linux

package main

import (
	"fmt"
	"io"
	"slices"
	"time"
)

// A table prints what was measured beside its target.
type table struct {
	w           io.Writer
	met, missed int
}

func newTable(w io.Writer) *table { return &table{w: w} }

func (t *table) section(name string) {
	fmt.Fprintf(t.w, "\n%s\n%-58s %10s %10s %8s %9s\n", name, "", "MEASURED", "AGAINST", "", "TARGET")
}

// ratio prints a over b, of which the medians count, and its target.
func (t *table) ratio(what string, a, b samples, target float64) {
	r := float64(a.median()) / float64(b.median())
	t.row(what, text(a.median()), text(b.median()), fmt.Sprintf("%.2f", r), fmt.Sprintf("≤ %.2f", target), r <= target)
}

// atMost prints a time and its target.
func (t *table) atMost(what string, value, target time.Duration) {
	t.row(what, text(value), "", "", "≤ "+text(target), value <= target)
}

// count prints a number and its target.
func (t *table) count(what string, value, target int, unit string) {
	t.row(what, fmt.Sprintf("%d%s", value, unit), "", "", fmt.Sprintf("≤ %d%s", target, unit), value <= target)
}

// note prints what has no target of its own.
func (t *table) note(format string, args ...any) { fmt.Fprintf(t.w, "  "+format+"\n", args...) }

func (t *table) row(what, a, b, value, target string, met bool) {
	verdict := "met"
	if met {
		t.met++
	} else {
		t.missed++
		verdict = "MISSED"
	}
	fmt.Fprintf(t.w, "%-58s %10s %10s %8s %9s  %s\n", what, a, b, value, target, verdict)
}

func (t *table) summary(took time.Duration) {
	fmt.Fprintf(t.w, "\n%d targets met, %d missed, in %s\n", t.met, t.missed, took.Round(time.Second))
}

func text(d time.Duration) string {
	switch {
	case d >= 10*time.Second:
		return d.Round(100 * time.Millisecond).String()
	case d >= time.Second:
		return d.Round(10 * time.Millisecond).String()
	case d >= 10*time.Millisecond:
		return d.Round(time.Millisecond).String()
	}
	return d.Round(10 * time.Microsecond).String()
}

// samples are measurements of the same thing.
type samples []time.Duration

func (s samples) median() time.Duration { return s.percentile(50) }

// percentile returns the least sample that so many percent do not exceed.
func (s samples) percentile(p int) time.Duration {
	if len(s) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(s))
	return sorted[max(0, (len(sorted)*p+99)/100-1)]
}

// inTurns measures each of several things once to warm up and then n times, one after
// the other.
func inTurns(n int, measure ...func() (time.Duration, error)) ([]samples, error) {
	all := make([]samples, len(measure))
	for round := range n + 1 {
		for i, m := range measure {
			d, err := m()
			if err != nil {
				return nil, err
			}
			if round > 0 {
				all[i] = append(all[i], d)
			}
		}
	}
	return all, nil
}

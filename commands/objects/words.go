package objects

import (
	"maps"
	"slices"
	"strings"
	"unicode"

	"github.com/docker-rd/docker-rd/mirror/state"
)

// words are completions, each with what is said about it.
type words map[string]string

// add adds a word, which several objects may have.
func (w words) add(word string, about ...string) {
	about = slices.DeleteFunc(about, func(s string) bool { return s == "" })
	said := strings.Join(about, ", ")
	if before, ok := w[word]; ok && before != said {
		said = "several"
	}
	w[word] = said
}

// Words returns the names of all objects, in order.
func (k *Kind) Words(s *state.State) []string { return k.words(s).inOrder() }

// inOrder returns the words that a shell can complete.
func (w words) inOrder() []string {
	maps.DeleteFunc(w, func(word, _ string) bool { return word == "" || strings.ContainsFunc(word, unicode.IsControl) })
	return slices.SortedFunc(maps.Keys(w), naturally)
}

// Complete calls add with each completion of an object, and what is said about it, without those
// that were given already.
func (k *Kind) Complete(s *state.State, given []string, add func(word, about string)) {
	w := k.words(s)
	for _, word := range w.inOrder() {
		if !slices.Contains(given, word) {
			add(word, w[word])
		}
	}
}

// CompleteFilter is [Kind.Complete] for the values of a filter. S may be nil.
func (k *Kind) CompleteFilter(s *state.State, filter string, add func(word, about string)) {
	fixed := map[string][]string{
		"status": {
			state.StateCreated, state.StateRunning, state.StatePaused, state.StateRestarting,
			state.StateRemoving, state.StateExited, state.StateDead,
		},
		"health":   {state.HealthNone, state.HealthStarting, state.HealthHealthy, state.HealthUnhealthy},
		"dangling": {"true", "false"},
		"scope":    {"local", "global", "swarm"},
		"type":     {"builtin", "custom"},
	}[filter]
	for _, word := range fixed {
		add(word, "")
	}
	of := map[string]*Kind{
		"name": k, "before": k, "since": k,
		"ancestor": Images(), "reference": Images(), "network": Networks(), "volume": Volumes(),
	}[filter]
	switch {
	case s == nil:
	case of != nil:
		of.Complete(s, nil, add)
	case filter == "driver" || filter == "label":
		for _, word := range k.values(s, filter).inOrder() {
			add(word, "")
		}
	}
}

// values returns the drivers or labels that objects have.
func (k *Kind) values(s *state.State, filter string) words {
	w := words{}
	has := func(driver string, labels map[string]string) {
		if filter == "driver" {
			w.add(driver)
			return
		}
		for key, value := range labels {
			w.add(key)
			w.add(key + "=" + value)
		}
	}
	switch k.Kind {
	case state.Containers:
		for _, c := range s.Containers {
			has("", c.Labels)
		}
	case state.Images:
		for _, i := range s.Images {
			has("", i.Labels)
		}
	case state.Volumes:
		for _, o := range s.Volumes {
			has(o.Driver, o.Labels)
		}
	case state.Networks:
		for _, n := range s.Networks {
			has(n.Driver, n.Labels)
		}
	}
	return w
}

// FilterMeaning says what a filter looks for.
func FilterMeaning(filter string) string {
	return map[string]string{
		"ancestor":  "containers of an image, or of one made from it",
		"before":    "made before this one",
		"dangling":  "used or named by nothing (true), or the others (false)",
		"driver":    "of a driver",
		"exited":    "with an exit status",
		"expose":    "that expose a port",
		"health":    "by what the health check says",
		"id":        "by a part of the ID",
		"label":     "with a label, or a label's value",
		"name":      "by a part of the name",
		"network":   "on a network",
		"publish":   "that publish a port",
		"reference": "by a pattern of the name",
		"scope":     "of a scope",
		"since":     "made after this one",
		"status":    "by their state",
		"type":      "made by the engine (builtin) or by users (custom)",
		"until":     "made before a time",
		"volume":    "that mount a volume",
	}[filter]
}

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

// names returns the names of all objects.
func (k *Kind) names(s *state.State) words {
	w := words{}
	for _, e := range k.entries(s) {
		var about []string
		if k.about != nil {
			about = k.about(s, e.key)
		}
		for _, name := range e.names {
			w.add(name, about...)
		}
	}
	return w
}

// Words returns the names of all objects, in order.
func (k *Kind) Words(s *state.State) []string { return k.names(s).inOrder() }

// inOrder returns the words that a shell can complete.
func (w words) inOrder() []string {
	maps.DeleteFunc(w, func(word, _ string) bool { return word == "" || strings.ContainsFunc(word, unicode.IsControl) })
	return slices.SortedFunc(maps.Keys(w), naturally)
}

// completions returns the words with what is said about them, as cobra takes them.
func (w words) completions() (all []string) {
	for _, word := range w.inOrder() {
		if about := w[word]; about != "" {
			word += "\t" + about
		}
		all = append(all, word)
	}
	return all
}

// Complete returns the completions of an object, without the words that were given already.
func (k *Kind) Complete(s *state.State, given []string) []string {
	w := k.names(s)
	maps.DeleteFunc(w, func(word, _ string) bool { return slices.Contains(given, word) })
	return w.completions()
}

// CompleteFilter returns the completions of a filter's value. S may be nil.
func (k *Kind) CompleteFilter(s *state.State, filter string) []string {
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
	if fixed != nil || s == nil {
		return fixed
	}
	w := words{}
	switch filter {
	case "name", "before", "since":
		w = k.names(s)
	case "ancestor", "reference":
		w = Images().names(s)
	case "network":
		w = Networks().names(s)
	case "volume":
		w = Volumes().names(s)
	case "driver":
		for _, e := range k.entries(s) {
			w.add(e.driver)
		}
	case "label":
		for _, e := range k.entries(s) {
			for key, value := range e.labels {
				w.add(key)
				w.add(key + "=" + value)
			}
		}
	}
	return w.completions()
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

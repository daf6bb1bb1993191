package commands

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/fvbommel/sortorder"
	"github.com/spf13/cobra"

	"github.com/docker-rd/docker-rd/engine"
	"github.com/docker-rd/docker-rd/internal/failure"
	"github.com/docker-rd/docker-rd/mirror/state"
)

// A kind is how commands deal with a kind of object.
type kind struct {
	state.Kind
	singular string
	aliases  []string
	table    string // what a plain "table" shows
	key      string // what --quiet shows
	empty    row    // for the header, and to try templates on

	// filters are docker's that the mirror can answer, unanswered those it can't.
	filters, unanswered []string

	// keys returns the keys of all objects that docker lists, in docker's order.
	keys func(v *view, all bool) []string
	// match compiles the filters, all of which are known.
	match func(v *view, f filterSet) (func(key string) bool, error)
	// rows returns an object's rows.
	rows func(v *view, key string) []row
	// find returns the keys of the objects that a word may mean: all of that name or
	// id, or else all whose id begins with it.
	find func(s *state.State, word string) []string
	// words returns what completes the name of an object.
	words func(s *state.State) []string
}

func kinds() []*kind {
	return []*kind{containerKind(), imageKind(), volumeKind(), networkKind(), namespaceKind()}
}

// parseKind returns the kind that a word names.
func parseKind(word string) (*kind, error) {
	var names []string
	for _, k := range kinds() {
		if word == string(k.Kind) || word == k.singular || slices.Contains(k.aliases, word) {
			return k, nil
		}
		names = append(names, string(k.Kind))
	}
	return nil, failure.WithHint(failure.Refuse("unknown kind %q", word), "kinds are %s", strings.Join(names, ", "))
}

// one returns the key of the one object that a word means.
func (k *kind) one(s *state.State, word string) (string, error) {
	found := k.find(s, word)
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return "", failure.WithHint(failure.Refuse("no such %s: %q", k.singular, word),
			"docker-rd get %s -i %s lists them; docker-rd sync %[2]s looks for new ones", k.Kind, s.Instance.Name)
	}
	return "", failure.WithHint(failure.Refuse("%d %s begin with %q", len(found), k.Kind, word), "give more of the id")
}

// byID returns the keys of the objects with the id, or which it abbreviates.
func byID[T any](objects map[string]T, word string) []string {
	if word == "" {
		return nil
	}
	algorithm, hex, ok := strings.Cut(word, ":")
	if !ok {
		hex = word
	}
	var found []string
	for key := range objects {
		id := key
		if a, digest, digested := strings.Cut(key, ":"); digested {
			if ok && a != algorithm {
				continue
			}
			id = digest
		} else if ok {
			continue
		}
		if id == hex {
			return []string{key}
		}
		if strings.HasPrefix(id, hex) {
			found = append(found, key)
		}
	}
	return found
}

// byName returns the keys of the objects with a name, or else by id.
func byName[T any](objects map[string]T, word string, name func(T) string) []string {
	var found []string
	for key, o := range objects {
		if name(o) == word {
			found = append(found, key)
		}
	}
	if len(found) == 0 {
		return byID(objects, word)
	}
	return found
}

// sortedKeys returns the keys by what by returns of their objects, and what is equal
// there by key.
func sortedKeys[T, K any](objects map[string]T, by func(T) K, compare func(a, b K) int) []string {
	type entry struct {
		key string
		by  K
	}
	entries := make([]entry, 0, len(objects))
	for key, o := range objects {
		entries = append(entries, entry{key, by(o)})
	}
	slices.SortFunc(entries, func(a, b entry) int {
		return cmp.Or(compare(a.by, b.by), cmp.Compare(a.key, b.key))
	})
	keys := make([]string, len(entries))
	for i, e := range entries {
		keys[i] = e.key
	}
	return keys
}

// newestFirst and naturally compare as docker sorts: "a2" comes before "a10".
func newestFirst(a, b time.Time) int { return b.Compare(a) }
func naturally(a, b string) int      { return sortorder.NaturalCompare(a, b) }

// completeKind completes a kind.
func completeKind(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	var names []string
	for _, k := range kinds() {
		names = append(names, string(k.Kind))
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// completeObjects completes a kind and then objects of that kind.
func (a *app) completeObjects(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	if len(args) == 0 {
		return completeKind(cmd, args, word)
	}
	k, err := parseKind(args[0])
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return a.objectWords(k, args[1:]), cobra.ShellCompDirectiveNoFileComp
}

// objectWords returns what completes an object of the kind, other than those that were
// given already.
func (a *app) objectWords(k *kind, given []string) []string {
	i, err := a.load(nil)
	if err != nil {
		return nil
	}
	s, err := readState(i)
	if err != nil {
		return nil
	}
	words := slices.DeleteFunc(k.words(s), func(w string) bool { return w == "" || slices.Contains(given, w) })
	slices.SortFunc(words, naturally)
	return words
}

// readState reads the instance's mirror.
func readState(i *engine.Instance) (*state.State, error) {
	s, err := state.Read(i.Paths.StateFile())
	return s, readError(i, err)
}

// text is how an object is called in messages.
func (k *kind) text(word string) string {
	return fmt.Sprintf("%s %q", k.singular, word)
}

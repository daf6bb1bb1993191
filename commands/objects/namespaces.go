package objects

import (
	"github.com/docker-rd/docker-rd/commands/output"
	"github.com/docker-rd/docker-rd/mirror/state"
)

type namespaceRow struct {
	follows
	Name string
}

// Namespaces returns the kind of namespaces, which docker does not have.
func Namespaces() *Kind {
	return &Kind{
		Kind: state.Namespaces, singular: "namespace", Aliases: []string{"ns"},
		layout:  output.Layout{Table: "{{.Name}}", Key: "{{.Name}}"},
		empty:   &namespaceRow{},
		Filters: []string{"name"},
		entries: func(s *state.State) (all []entry) {
			for name := range s.Namespaces {
				all = append(all, entry{key: name, names: []string{name}})
			}
			return all
		},
		match: func(_ *view, f filterSet) (func(string) bool, error) { return f.matching("name"), nil },
		rows:  func(_ *view, key string) []row { return []row{&namespaceRow{Name: key}} },
		find:  func(s *state.State, word string) []string { return byKey(s.Namespaces, word) },
	}
}

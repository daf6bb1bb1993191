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
		Kind: state.Namespaces, singular: "namespace", aliases: []string{"ns"},
		layout:  output.Layout{Table: "{{.Name}}", Key: "{{.Name}}"},
		empty:   &namespaceRow{},
		filters: []string{"name"},
		keys: func(v *view, _ bool) []string {
			return sortedKeys(v.Namespaces, func(o state.Namespace) string { return o.Name }, naturally)
		},
		match: func(v *view, f filterSet) (func(string) bool, error) {
			return func(key string) bool { return f.matches("name", key) }, nil
		},
		rows: func(_ *view, key string) []row { return []row{&namespaceRow{Name: key}} },
		find: func(s *state.State, word string) []string { return byKey(s.Namespaces, word) },
		words: func(s *state.State) words {
			w := words{}
			for name := range s.Namespaces {
				w.add(name)
			}
			return w
		},
	}
}

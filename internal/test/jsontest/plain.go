// Package jsontest helps to hold what reads JSON by hand against encoding/json.
package jsontest

import (
	"encoding/json"
	"io"
	"reflect"
	"strings"
	"time"
)

// Plain reports whether all names in a text are as encoding/json would write them for the
// type: it also reads them in another case, and a second time.
func Plain(text string, t reflect.Type) bool {
	known := map[string]bool{}
	addNames(known, map[reflect.Type]bool{}, t)
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var scopes []map[string]bool // of the objects and arrays around; nil for an array
	name := false                // whether a name comes next
	for {
		token, err := d.Token()
		if err != nil {
			return err == io.EOF
		}
		switch token {
		case json.Delim('{'):
			scopes = append(scopes, map[string]bool{})
			name = true
			continue
		case json.Delim('['):
			scopes = append(scopes, nil)
			name = false
			continue
		case json.Delim('}'), json.Delim(']'):
			scopes = scopes[:len(scopes)-1]
		default:
			if name {
				word := token.(string)
				if scopes[len(scopes)-1][word] {
					return false
				}
				scopes[len(scopes)-1][word] = true
				for k := range known {
					if k != word && strings.EqualFold(k, word) {
						return false
					}
				}
				name = false
				continue
			}
		}
		name = len(scopes) > 0 && scopes[len(scopes)-1] != nil
	}
}

func addNames(names map[string]bool, seen map[reflect.Type]bool, t reflect.Type) {
	if seen[t] || t == reflect.TypeFor[time.Time]() {
		return
	}
	seen[t] = true
	switch t.Kind() {
	case reflect.Pointer, reflect.Map, reflect.Slice, reflect.Array:
		addNames(names, seen, t.Elem())
	case reflect.Struct:
		for i := range t.NumField() {
			f := t.Field(i)
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			if name == "" {
				name = f.Name
			}
			names[name] = true
			addNames(names, seen, f.Type)
		}
	}
}

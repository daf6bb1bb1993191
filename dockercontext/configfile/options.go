package configfile

import (
	"bytes"
	"context"
	"fmt"
	"strings"

	dockerconfig "github.com/docker/cli/cli/config"
)

// Options are what a file says of docker's features and CLI plugins.
type Options struct {
	Features map[string]string
	Plugins  map[string]map[string]string
}

// at returns the value at a path of names.
func (o Options) at(path []string) string {
	switch {
	case len(path) == 2 && path[0] == "features":
		return o.Features[path[1]]
	case len(path) == 3 && path[0] == "plugins":
		return o.Plugins[path[1]][path[2]]
	}
	return ""
}

// An Option is an option to be set: features NAME, or plugins PLUGIN NAME. An empty value
// means none.
type Option struct {
	Path  []string
	Value string
}

// UpdateOptions sets options that the file at path has for docker's features and CLI plugins, or
// takes them out, as decide says. What is taken out leaves the bytes that were there before it
// was put in. Decide must have no effects; all else is as with [Update].
func UpdateOptions(ctx context.Context, path string, decide func(Options) []Option) (changed bool, err error) {
	return update(ctx, path, true, func(v version) ([]byte, error) {
		doc, err := parse(v.data)
		if err != nil {
			return nil, err
		}
		now, err := options(v.data, doc)
		if err != nil {
			return nil, err
		}
		data := v.data
		for _, s := range decide(now) {
			if data, doc, err = set(data, doc, v.exists, s); err != nil {
				return nil, err
			}
		}
		return data, nil
	})
}

// options returns what docker reads of the options.
func options(data []byte, doc *document) (Options, error) {
	if doc.blank {
		return Options{}, nil
	}
	config, err := dockerconfig.LoadFromReader(bytes.NewReader(data))
	if err != nil {
		return Options{}, err
	}
	return Options{config.Features, config.Plugins}, nil
}

// set returns data, which doc is of, with an option as the setting has it.
func set(data []byte, doc *document, exists bool, s Option) (after []byte, next *document, err error) {
	path := append([]string{spelled(doc, s.Path[0])}, s.Path[1:]...)
	switch {
	case s.Value == "" && doc.blank:
		return data, doc, nil
	case s.Value == "":
		after, _, err = unsetIn(data, path)
	case doc.blank && !exists:
		after = []byte(newFileOpen + strings.TrimSuffix(nested(path, s.Value)[1:], "}") + newFileClose)
	case doc.blank:
		after = []byte(nested(path, s.Value))
	default:
		after, err = setIn(data, path, s.Value)
	}
	if err != nil {
		return nil, nil, err
	}
	// A mistake of ours must not reach the file.
	if next, err = parse(after); err != nil {
		return nil, nil, fmt.Errorf("%s can't be set to %q: %w", strings.Join(s.Path, "."), s.Value, err)
	}
	if check, err := options(after, next); err != nil || check.at(s.Path) != s.Value {
		return nil, nil, fmt.Errorf("%s can't be set to %q: docker would see %q: %w", strings.Join(s.Path, "."), s.Value, check.at(s.Path), err)
	}
	return after, next, nil
}

// spelled returns how the document spells a key: docker folds case.
func spelled(d *document, key string) string {
	for _, m := range d.members {
		if strings.EqualFold(m.name, key) {
			return m.name
		}
	}
	return key
}

// setIn returns data, which begins with an object, with the value at a path of names. Objects
// that are missing on the way are made.
func setIn(data []byte, path []string, value string) ([]byte, error) {
	open, list, m, err := find(data, path[0])
	switch {
	case err != nil:
		return nil, err
	case m != nil && len(path) == 1:
		return splice(data, m.valueStart, m.valueEnd, quote(value)), nil
	case m != nil:
		inner, err := setIn(data[m.valueStart:m.valueEnd], path[1:], value)
		if err != nil {
			return nil, err
		}
		return splice(data, m.valueStart, m.valueEnd, string(inner)), nil
	}
	text := strings.TrimSuffix(strings.TrimPrefix(nested(path, value), "{"), "}")
	if len(list) == 0 {
		// The space says that the object was there before.
		return splice(data, open, open, emptied+text), nil
	}
	last := list[len(list)-1]
	before := spaceBefore(data, last.keyStart)
	if len(list) == 1 && before == emptied {
		before = ""
	}
	return splice(data, last.valueEnd, last.valueEnd, ","+before+text), nil
}

// emptied is what is before the first member of an object that was empty before.
const emptied = " "

// unsetIn is the inverse of setIn. gone says that data was made by setIn and is empty now.
func unsetIn(data []byte, path []string) (after []byte, gone bool, err error) {
	open, list, m, err := find(data, path[0])
	if err != nil || m == nil {
		return data, false, err
	}
	if len(path) > 1 {
		inner, empty, err := unsetIn(data[m.valueStart:m.valueEnd], path[1:])
		if err != nil {
			return nil, false, err
		}
		if !empty {
			return splice(data, m.valueStart, m.valueEnd, string(inner)), false, nil
		}
	}
	switch {
	case m != &list[0]:
		i := len(list) - 1
		for &list[i] != m {
			i--
		}
		return splice(data, list[i-1].valueEnd, m.valueEnd, ""), false, nil
	case len(list) > 1:
		return splice(data, m.keyStart, list[1].keyStart, ""), false, nil
	}
	return splice(data, open, m.valueEnd, ""), string(data[open:m.keyStart]) != emptied, nil
}

// find returns the members of the object that data begins with, and that of a name, nil for
// none.
func find(data []byte, name string) (open int, list []member, found *member, err error) {
	if len(data) == 0 || data[0] != '{' && data[skipSpace(data, 0)] != '{' {
		return 0, nil, nil, refusedAt(data, 0, WrongType, fmt.Sprintf("what %q belongs in is not a JSON object", name))
	}
	open, list, _, err = members(data)
	for i := range list {
		if list[i].name != name {
			continue
		}
		if found != nil {
			return 0, nil, nil, refusedAt(data, list[i].keyStart, DuplicateKey, fmt.Sprintf("key %q is there more than once", name))
		}
		found = &list[i]
	}
	return open, list, found, err
}

// nested returns an object with a value at a path of names.
func nested(path []string, value string) string {
	text := quote(value)
	for i := len(path) - 1; i >= 0; i-- {
		text = "{" + quote(path[i]) + ": " + text + "}"
	}
	return text
}

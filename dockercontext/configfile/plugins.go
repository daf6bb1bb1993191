package configfile

import (
	"bytes"
	"context"
	"fmt"
	"strings"

	dockerconfig "github.com/docker/cli/cli/config"
)

// A Setting is an option of a CLI plugin: see [SetPlugin]. An empty value means none.
type Setting struct{ Key, Value string }

// SetPlugin sets options that the file at path has for a CLI plugin of docker's, or takes them
// out. What is taken out leaves the bytes that were there before it was put in. All else is as
// with [Update].
func SetPlugin(ctx context.Context, path, plugin string, settings ...Setting) (changed bool, err error) {
	return update(ctx, path, true, func(v version) ([]byte, error) { return setPlugin(v, plugin, settings) })
}

// Plugin returns the options that the file at path has for a CLI plugin. Its errors are those of
// [Current].
func Plugin(path, plugin string) (map[string]string, error) {
	target, err := resolve(path)
	if err != nil {
		return nil, err
	}
	v, err := readVersion(target)
	if err != nil {
		return nil, err
	}
	if _, err := parse(v.data); err != nil {
		return nil, at(target, err)
	}
	config, err := dockerconfig.LoadFromReader(bytes.NewReader(orEmpty(v.data)))
	if err != nil {
		return nil, err
	}
	return config.Plugins[plugin], nil
}

// orEmpty returns what docker reads in place of nothing.
func orEmpty(data []byte) []byte {
	if skipSpace(data, 0) == len(data) {
		return []byte("{}")
	}
	return data
}

func setPlugin(v version, plugin string, settings []Setting) ([]byte, error) {
	doc, err := parse(v.data)
	if err != nil {
		return nil, err
	}
	data := v.data
	for _, s := range settings {
		path := []string{pluginsOf(doc), plugin, s.Key}
		switch {
		case s.Value == "":
			if doc.blank {
				continue
			}
			data, _, err = unsetIn(data, path)
		case doc.blank && !v.exists:
			data = []byte(newFileOpen + nested(path, s.Value)[1:])
			data = append(data[:len(data)-1], newFileClose...)
		case doc.blank:
			data = []byte(nested(path, s.Value))
		default:
			data, err = setIn(data, path, s.Value)
		}
		if err != nil {
			return nil, err
		}
		// A mistake of ours must not reach the file.
		config, err := dockerconfig.LoadFromReader(bytes.NewReader(data))
		if err != nil || config.Plugins[plugin][s.Key] != s.Value {
			return nil, fmt.Errorf("%q of plugin %q can't be set to %q: docker would see %q: %w", s.Key, plugin, s.Value, config.Plugins[plugin][s.Key], err)
		}
		if doc, err = parse(data); err != nil {
			return nil, err
		}
	}
	return data, nil
}

// pluginsOf returns how the document spells the key of the plugins: docker folds case.
func pluginsOf(d *document) string {
	const plugins = "plugins"
	for _, m := range d.members {
		if strings.EqualFold(m.name, plugins) {
			return m.name
		}
	}
	return plugins
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

package configfile

import (
	"bytes"
	"context"
	"fmt"
	"strings"

	dockerconfig "github.com/docker/cli/cli/config"
	dockerconfigfile "github.com/docker/cli/cli/config/configfile"
)

// Options are a file's options for docker's features and CLI plugins.
type Options struct {
	Features map[string]string
	Plugins  map[string]map[string]string
}

// An Option is an option to be set: features NAME, or plugins PLUGIN NAME. An empty value
// means none.
type Option struct {
	Path  []string
	Value string
}

// seen returns the value of the option that docker sees.
func (o Option) seen(c *dockerconfigfile.ConfigFile) string {
	switch {
	case len(o.Path) == 2 && o.Path[0] == "features":
		return c.Features[o.Path[1]]
	case len(o.Path) == 3 && o.Path[0] == "plugins":
		return c.Plugins[o.Path[1]][o.Path[2]]
	}
	return ""
}

// UpdateOptions sets options that the file at path has for docker's features and CLI plugins, or
// takes them out, as decide says. What is taken out leaves the bytes that were there before it
// was put in. Decide must have no effects; all else is as with [Update].
func UpdateOptions(ctx context.Context, path string, decide func(Options) []Option) (changed bool, err error) {
	return update(ctx, path, func(v version) ([]byte, error) {
		doc, err := parse(v.data)
		if err != nil {
			return nil, err
		}
		var now Options
		if !doc.blank {
			config, err := dockerconfig.LoadFromReader(bytes.NewReader(v.data))
			if err != nil {
				return nil, err
			}
			now = Options{config.Features, config.Plugins}
		}
		for _, o := range decide(now) {
			after, err := doc.setOption(o, v.exists)
			if err != nil {
				return nil, err
			}
			if doc, err = parse(after); err != nil {
				return nil, err
			}
		}
		return doc.data, nil
	})
}

// setOption returns the file with the option as it is given.
func (d *document) setOption(o Option, exists bool) (after []byte, err error) {
	path := append([]string{d.spelled(o.Path[0])}, o.Path[1:]...)
	switch {
	case o.Value == "" && d.blank:
		return d.data, nil
	case o.Value == "":
		after, _, err = unsetIn(d.data, path)
	case d.blank:
		after = d.add(nested(path, o.Value), emptied, exists)
	default:
		after, err = setIn(d.data, path, o.Value)
	}
	if err != nil {
		return nil, err
	}
	return after, sees(after, strings.Join(o.Path, "."), o.Value, o.seen)
}

// spelled returns how the file spells a key: docker folds case.
func (d *document) spelled(key string) string {
	for _, m := range d.members {
		if strings.EqualFold(m.name, key) {
			return m.name
		}
	}
	return key
}

// emptied is before the first member of an object that was there before, and empty.
const emptied = " "

// setIn returns data, which begins with an object, with the value at a path of names. Objects
// that are missing on the way are made.
func setIn(data []byte, path []string, value string) ([]byte, error) {
	o, i, err := find(data, path[0])
	switch {
	case err != nil:
		return nil, err
	case i < 0:
		return o.insert(nested(path, value), emptied), nil
	case len(path) == 1:
		return o.put(i, quote(value)), nil
	}
	inner, err := setIn(o.value(i), path[1:], value)
	return o.put(i, string(inner)), err
}

// unsetIn is the inverse of setIn. made says that setIn has made the object, which is empty now.
func unsetIn(data []byte, path []string) (after []byte, made bool, err error) {
	if string(data) == "null" { // docker reads it as an object without members
		return data, false, nil
	}
	o, i, err := find(data, path[0])
	if err != nil || i < 0 {
		return data, false, err
	}
	if len(path) > 1 {
		inner, made, err := unsetIn(o.value(i), path[1:])
		if err != nil || !made {
			return o.put(i, string(inner)), false, err
		}
	}
	return o.remove(i), len(o.members) == 1 && spaceBefore(data, o.members[i].keyStart) != emptied, nil
}

// find returns the object that data begins with, and which member has the name, -1 for none.
func find(data []byte, name string) (o object, found int, err error) {
	if start := skip(data, 0, whitespace); start == len(data) || data[start] != '{' {
		return o, -1, refuse(&RefusedError{Reason: WrongType, Detail: fmt.Sprintf("what %q belongs in is not a JSON object", name)})
	}
	o, err = readObject(data)
	found = -1
	for i, m := range o.members {
		if m.name != name {
			continue
		}
		if found >= 0 {
			return o, -1, refuse(&RefusedError{Reason: DuplicateKey, Detail: fmt.Sprintf("key %q occurs more than once", name)})
		}
		found = i
	}
	return o, found, err
}

// nested returns a member with a value at a path of names.
func nested(path []string, value string) string {
	text := quote(value)
	for i := len(path) - 1; i > 0; i-- {
		text = "{" + quote(path[i]) + ": " + text + "}"
	}
	return quote(path[0]) + ": " + text
}

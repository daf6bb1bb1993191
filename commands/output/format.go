package output

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"text/template"
	"text/template/parse"

	"github.com/docker/cli/templates"

	"github.com/docker-rd/docker-rd/internal/failure"
	"github.com/docker-rd/docker-rd/internal/nearest"
)

// badFormat returns the error for a format that is no template, or does not fit the value. The
// errors of package template name Go types, which mean nothing to a user.
func badFormat(format string, value any, err error) error {
	tmpl, parseErr := templates.Parse(format)
	if _, ok := errors.AsType[template.ExecError](err); !ok || parseErr != nil {
		return failure.Refuse("format %q: %w", format, err)
	}
	for _, path := range fieldsIn(tmpl.Root) {
		if name, of := missing(reflect.TypeOf(value), path); name != "" {
			fields := exported(of)
			if of == pointedTo(reflect.TypeOf(value)) {
				fields = columns(value)
			}
			err := failure.Refuse("format %q: no field .%s", format, name)
			if len(fields) == 0 {
				return err
			}
			return failure.WithHint(err, "%s", nearest.DidYouMean(nearest.To(name, fields), ".", "fields are ."+strings.Join(fields, ", .")))
		}
	}
	return failure.Refuse("format %q does not fit what is shown", format)
}

// missing returns the first unknown name of a path of fields in type t, and the type that lacks
// it; "" if none is known to be missing.
func missing(t reflect.Type, path []string) (string, reflect.Type) {
	for _, name := range path {
		if m, ok := t.MethodByName(name); ok {
			t = m.Type.Out(0)
			continue
		}
		t = pointedTo(t)
		if t.Kind() == reflect.Interface || t.Kind() == reflect.Map {
			return "", nil
		}
		if t.Kind() != reflect.Struct {
			return name, t
		}
		f, ok := t.FieldByName(name)
		if !ok {
			return name, t
		}
		t = f.Type
	}
	return "", nil
}

// pointedTo returns the type that pointers of type t lead to, or t.
func pointedTo(t reflect.Type) reflect.Type {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t
}

// columns returns the names of a row's fields, and of its methods without arguments, sorted.
func columns(row any) []string {
	t := reflect.TypeOf(row)
	names := exported(pointedTo(t))
	for m := range t.Methods() {
		if m.Type.NumIn() == 1 && m.Type.NumOut() == 1 {
			names = append(names, m.Name)
		}
	}
	slices.Sort(names)
	return names
}

// exported returns the names of a struct's fields.
func exported(t reflect.Type) []string {
	var names []string
	if t.Kind() == reflect.Struct {
		for _, f := range reflect.VisibleFields(t) {
			if f.IsExported() && !f.Anonymous {
				names = append(names, f.Name)
			}
		}
	}
	return names
}

// fieldsIn returns the fields in a template, in order. It leaves out those inside of range or
// with, which belong to other values.
func fieldsIn(node parse.Node) [][]string {
	var paths [][]string
	switch n := node.(type) {
	case *parse.ListNode:
		if n != nil {
			for _, child := range n.Nodes {
				paths = append(paths, fieldsIn(child)...)
			}
		}
	case *parse.ActionNode:
		paths = fieldsIn(n.Pipe)
	case *parse.IfNode:
		paths = slices.Concat(fieldsIn(n.Pipe), fieldsIn(n.List), fieldsIn(n.ElseList))
	case *parse.RangeNode:
		paths = fieldsIn(n.Pipe)
	case *parse.WithNode:
		paths = fieldsIn(n.Pipe)
	case *parse.PipeNode:
		for _, cmd := range n.Cmds {
			for _, arg := range cmd.Args {
				paths = append(paths, fieldsIn(arg)...)
			}
		}
	case *parse.FieldNode:
		paths = append(paths, n.Ident)
	}
	return paths
}

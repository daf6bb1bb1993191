package output

import (
	"errors"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"text/template"

	"github.com/docker-rd/docker-rd/internal/failure"
	"github.com/docker-rd/docker-rd/internal/nearest"
)

// unknownField is what package template says of a field that a value lacks, and of which type that
// is: it has no error of its own for that.
var unknownField = regexp.MustCompile(`can't evaluate field (\S+) in type (.+)$`)

// badFormat returns the error for a format that is no template, or does not fit the value. The
// errors of package template name Go types, which mean nothing to a user.
func badFormat(format string, value any, err error) error {
	if _, ok := errors.AsType[template.ExecError](err); !ok {
		return failure.Refuse("format %q: %w", format, err)
	}
	m := unknownField.FindStringSubmatch(err.Error())
	if m == nil {
		return failure.Refuse("format %q does not fit what is shown", format)
	}
	err = failure.Refuse("format %q: no field .%s", format, m[1])
	fields := fieldsOf(reflect.TypeOf(value), m[2])
	if len(fields) == 0 {
		return err
	}
	return failure.WithHint(err, "%s", nearest.DidYouMean(nearest.To(m[1], fields), ".", "fields are ."+strings.Join(fields, ", .")))
}

// fieldsOf returns the fields of the type called name, which is t or that of a field in it.
func fieldsOf(t reflect.Type, name string) []string {
	if t.String() == name {
		return columns(t)
	}
	if t = pointedTo(t); t.Kind() == reflect.Struct {
		for _, f := range reflect.VisibleFields(t) {
			if f.IsExported() {
				if found := fieldsOf(f.Type, name); found != nil {
					return found
				}
			}
		}
	}
	return nil
}

// pointedTo returns the type that pointers of type t lead to, or t.
func pointedTo(t reflect.Type) reflect.Type {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t
}

// columns returns the names of a type's fields, and of its methods without arguments, sorted.
func columns(t reflect.Type) []string {
	var names []string
	if s := pointedTo(t); s.Kind() == reflect.Struct {
		for _, f := range reflect.VisibleFields(s) {
			if f.IsExported() && !f.Anonymous {
				names = append(names, f.Name)
			}
		}
	}
	for m := range t.Methods() {
		if m.Type.NumIn() == 1 && m.Type.NumOut() == 1 {
			names = append(names, m.Name)
		}
	}
	slices.Sort(names)
	return names
}

package configfile

import (
	"bytes"
	"encoding/json"
	"slices"

	"github.com/go-json-experiment/json/jsontext"
)

// An object is a JSON object that data begins with. Its methods return data with a change, and
// keep all other bytes.
type object struct {
	data      []byte
	open, end int // offsets behind the opening and the closing brace
	members   []member
}

// A member is one member of an object, as offsets into its text.
type member struct {
	name                 string
	keyStart, keyEnd     int
	valueStart, valueEnd int
}

// docker takes what encoding/json takes.
var liberal = jsontext.AllowDuplicateNames(true)

// readObject finds the members of the object that data begins with.
func readObject(data []byte) (object, error) {
	o := object{data: data}
	dec := jsontext.NewDecoder(bytes.NewBuffer(data), liberal, jsontext.AllowInvalidUTF8(true))
	if _, err := dec.ReadToken(); err != nil {
		return o, refusedSyntax(data, err)
	}
	o.open = int(dec.InputOffset())
	for dec.PeekKind() != '}' {
		var m member
		name, err := dec.ReadValue()
		if err == nil {
			err = json.Unmarshal(name, &m.name)
		}
		if err != nil {
			return o, refusedSyntax(data, err)
		}
		m.keyEnd = int(dec.InputOffset())
		m.keyStart = m.keyEnd - len(name)
		value, err := dec.ReadValue()
		if err != nil {
			return o, refusedSyntax(data, err)
		}
		m.valueEnd = int(dec.InputOffset())
		m.valueStart = m.valueEnd - len(value)
		o.members = append(o.members, m)
	}
	if _, err := dec.ReadToken(); err != nil {
		return o, refusedSyntax(data, err)
	}
	o.end = int(dec.InputOffset())
	return o, nil
}

func (o object) value(i int) []byte { return o.data[o.members[i].valueStart:o.members[i].valueEnd] }

// colon returns what is between the key and the value of the last member.
func (o object) colon() string {
	if len(o.members) == 0 {
		return ": "
	}
	last := o.members[len(o.members)-1]
	return string(o.data[last.keyEnd:last.valueStart])
}

// put gives a member another value.
func (o object) put(i int, value string) []byte {
	return splice(o.data, o.members[i].valueStart, o.members[i].valueEnd, value)
}

// insert adds a member at the end, with the space of the one before it. First is the space before
// an only one, which does not count.
func (o object) insert(text, first string) []byte {
	if len(o.members) == 0 {
		return splice(o.data, o.open, o.open, first+text)
	}
	last := o.members[len(o.members)-1]
	space := spaceBefore(o.data, last.keyStart)
	if len(o.members) == 1 && space == first {
		space = ""
	}
	return splice(o.data, last.valueEnd, last.valueEnd, ","+space+text)
}

// remove is the inverse of insert.
func (o object) remove(i int) []byte {
	m := o.members[i]
	switch {
	case i > 0:
		return splice(o.data, o.members[i-1].valueEnd, m.valueEnd, "")
	case len(o.members) > 1:
		return splice(o.data, m.keyStart, o.members[1].keyStart, "")
	}
	return splice(o.data, o.open, m.valueEnd, "")
}

// whitespace is that of JSON.
const whitespace = " \t\r\n"

// skip returns where the first other than these characters is, from i on.
func skip(data []byte, i int, chars string) int {
	return len(data) - len(bytes.TrimLeft(data[i:], chars))
}

func spaceBefore(data []byte, i int) string {
	return string(data[len(bytes.TrimRight(data[:i], whitespace)):i])
}

func splice(data []byte, from, to int, with string) []byte {
	return slices.Concat(data[:from], []byte(with), data[to:])
}

// quote encodes s as JSON. What is not UTF-8 is replaced.
func quote(s string) string {
	text, _ := jsontext.AppendQuote(nil, s)
	return string(text)
}

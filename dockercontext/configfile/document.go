package configfile

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	dockerconfig "github.com/docker/cli/cli/config"
)

// key is the one key that is ever changed.
const key = "currentContext"

// What is around the key in a new file; docker indents by a tab.
const newFileOpen, newFileClose = "{\n\t", "\n}\n"

// A member is one member of an object, as offsets into its text.
type member struct {
	name                 string
	keyStart, keyEnd     int
	valueStart, valueEnd int
}

// A document is a configuration file that docker can decode and that can be edited.
type document struct {
	data    []byte
	blank   bool // no value at all, which docker reads as {}
	open    int  // offset behind the opening brace
	members []member
	ours    []int // members that docker decodes as currentContext
	winner  int   // the member that counts, -1 for none
	current Value // what it says
}

var byteOrderMark = []byte("\xef\xbb\xbf")

// parse finds the members of a configuration file. A file that docker can't decode,
// or that has more than one value, is a *[RefusedError] without a path.
func parse(data []byte) (*document, error) {
	d := &document{data: data, winner: -1}
	if bytes.HasPrefix(data, byteOrderMark) {
		return nil, refusedAt(data, 0, BOM, "begins with a byte-order mark")
	}
	if skipSpace(data, 0) == len(data) {
		d.blank = true
		return d, nil
	}

	// Docker's own decoder has the last word on what it can load and what it sees.
	config, err := dockerconfig.LoadFromReader(bytes.NewReader(data))
	if err != nil {
		return nil, refusedDecoding(data, err)
	}
	d.current.Name = config.CurrentContext
	if start := skipSpace(data, 0); data[start] != '{' {
		return nil, refusedAt(data, start, WrongType, "is not a JSON object") // null
	}
	if err := d.scan(); err != nil {
		return nil, err
	}
	if d.current.Name == "" && d.winner >= 0 && len(d.ours) == 1 {
		m := d.members[d.winner]
		d.current.Unset = string(data[m.valueStart:m.valueEnd])
	}
	return d, nil
}

// scan fills in the members of data, which is known to begin with a valid object.
func (d *document) scan() error {
	var end int
	var err error
	if d.open, d.members, end, err = members(d.data); err != nil {
		return err
	}
	for i, m := range d.members {
		// encoding/json prefers no spelling: it folds case, the last one wins, and
		// null leaves what an earlier one has set.
		if !strings.EqualFold(m.name, key) {
			continue
		}
		if d.winner < 0 || d.data[m.valueStart] != 'n' || d.data[d.members[d.winner].valueStart] == 'n' {
			d.winner = i
		}
		d.ours = append(d.ours, i)
	}
	if next := skipSpace(d.data, end); next < len(d.data) {
		return refusedAt(d.data, next, TrailingData, "there is more data behind the JSON object")
	}
	return nil
}

// docker takes what encoding/json takes.
var liberal = jsontext.AllowDuplicateNames(true)

// members returns the members of the object that data begins with, and where it opens
// and ends.
func members(data []byte) (open int, list []member, end int, err error) {
	dec := jsontext.NewDecoder(bytes.NewBuffer(data), liberal, jsontext.AllowInvalidUTF8(true))
	if _, err := dec.ReadToken(); err != nil {
		return 0, nil, 0, refusedSyntax(data, err)
	}
	open = int(dec.InputOffset())
	for dec.PeekKind() != '}' {
		var m member
		name, err := dec.ReadValue()
		if err == nil {
			err = json.Unmarshal(name, &m.name)
		}
		if err != nil {
			return 0, nil, 0, refusedSyntax(data, err)
		}
		m.keyEnd = int(dec.InputOffset())
		m.keyStart = m.keyEnd - len(name)
		value, err := dec.ReadValue()
		if err != nil {
			return 0, nil, 0, refusedSyntax(data, err)
		}
		m.valueEnd = int(dec.InputOffset())
		m.valueStart = m.valueEnd - len(value)
		list = append(list, m)
	}
	if _, err := dec.ReadToken(); err != nil {
		return 0, nil, 0, refusedSyntax(data, err)
	}
	return open, list, int(dec.InputOffset()), nil
}

// set returns the file with currentContext set to next, or without it for the zero Value.
// All other bytes stay. exists reports whether there is a file, which may be empty.
func (d *document) set(next Value, exists bool) ([]byte, error) {
	if !utf8.ValidString(next.Name) {
		return nil, fmt.Errorf("context name %q is not valid UTF-8", next.Name)
	}
	var after []byte
	switch {
	case next.Name == d.current.Name:
		return d.data, nil
	case next.Name != "" && d.winner >= 0:
		after = d.put(quote(next.Name))
	case next.Name != "":
		after = d.insert(next.Name, exists)
	case next.Unset != "" && len(d.ours) == 1:
		after = d.put(next.Unset)
	default:
		after = d.unset()
	}
	// A mistake of ours must not reach the file.
	check, err := dockerconfig.LoadFromReader(bytes.NewReader(after))
	if err != nil {
		return nil, fmt.Errorf("currentContext can't be set to %q: %w", next.Name, err)
	}
	if check.CurrentContext != next.Name {
		return nil, fmt.Errorf("currentContext can't be set to %q: docker would see %q", next.Name, check.CurrentContext)
	}
	return after, nil
}

// put returns the file with another value of the key, which is there.
func (d *document) put(value string) []byte {
	m := d.members[d.winner]
	return splice(d.data, m.valueStart, m.valueEnd, value)
}

// insert adds the key as the last member, laid out as the one before it.
func (d *document) insert(next string, exists bool) []byte {
	value := quote(next)
	switch {
	case d.blank && !exists:
		return []byte(newFileOpen + quote(key) + ": " + value + newFileClose)
	case d.blank:
		return splice(d.data, 0, 0, "{"+quote(key)+": "+value+"}")
	case len(d.members) == 0:
		return splice(d.data, d.open, d.open, quote(key)+": "+value)
	}
	last := d.members[len(d.members)-1]
	before := spaceBefore(d.data, last.keyStart)
	colon := string(d.data[last.keyEnd:last.valueStart])
	return splice(d.data, last.valueEnd, last.valueEnd, ","+before+quote(key)+colon+value)
}

// unset is the inverse of insert, but for what had no object: an empty one stays.
func (d *document) unset() []byte {
	i := d.winner
	m := d.members[i]
	switch {
	case len(d.ours) > 1:
		// Without the last one docker would see an earlier one.
		return d.put(`""`)
	case i > 0:
		return splice(d.data, d.members[i-1].valueEnd, m.valueEnd, "")
	case len(d.members) > 1:
		return splice(d.data, m.keyStart, d.members[1].keyStart, "")
	}
	return splice(d.data, d.open, m.valueEnd, "")
}

// duplicates returns a finding for every key that is in one object again. At the top
// docker folds case, below it that depends on the type, so only equal names count.
func duplicates(data []byte) []*RefusedError {
	var found []*RefusedError
	seen := map[jsontext.Pointer]int{}
	dec := jsontext.NewDecoder(bytes.NewBuffer(data), liberal, jsontext.AllowInvalidUTF8(true))
	for {
		kind, read := dec.StackIndex(dec.StackDepth())
		if kind != '{' || read%2 != 0 || dec.PeekKind() == '}' {
			if _, err := dec.ReadToken(); err != nil {
				return found
			}
			continue
		}
		name, err := dec.ReadValue()
		if err != nil {
			return found
		}
		pointer := dec.StackPointer()
		written := pointer.LastToken()
		if dec.StackDepth() == 1 {
			pointer = jsontext.Pointer(strings.ToLower(string(pointer)))
		}
		if seen[pointer]++; seen[pointer] == 2 {
			detail := fmt.Sprintf("key %q is there more than once", written)
			found = append(found, finding(data, int(dec.InputOffset())-len(name), DuplicateKey, detail))
		}
	}
}

// covers reports whether newer has every value that older has, but for currentContext.
func covers(newer, older []byte) bool {
	var n, o map[string]any
	if json.Unmarshal(newer, &n) != nil || json.Unmarshal(older, &o) != nil {
		return bytes.Equal(newer, older)
	}
	for name := range o {
		if strings.EqualFold(name, key) {
			delete(o, name)
		}
	}
	return includes(n, o)
}

func includes(newer, older any) bool {
	o, ok := older.(map[string]any)
	if !ok {
		a, errA := json.Marshal(newer)
		b, errB := json.Marshal(older)
		return errA == nil && errB == nil && bytes.Equal(a, b)
	}
	n, ok := newer.(map[string]any)
	if !ok {
		return false
	}
	for name, value := range o {
		if have, ok := n[name]; !ok || !includes(have, value) {
			return false
		}
	}
	return true
}

// refusedDecoding returns what docker's decoder could not load of data, and where it is.
func refusedDecoding(data []byte, err error) error {
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return refusedAt(data, tokenAt(data, max(int(wrong.Offset)-1, 0)), WrongType, "docker can't load it: "+strings.TrimPrefix(err.Error(), "json: "))
	}
	_, syntax := errors.AsType[*json.SyntaxError](err)
	if syntax || errors.Is(err, io.ErrUnexpectedEOF) {
		return refusedSyntax(data, err)
	}
	detail := "docker can't load it: " + err.Error()
	if offset, registry, ok := badCredentials(data); ok {
		return refusedAt(data, offset, WrongType, fmt.Sprintf("%s, in the credentials for %q", detail, registry))
	}
	return refuse(&RefusedError{Reason: WrongType, Detail: detail})
}

// badCredentials finds the first credentials in auths that docker can't decode, although
// they are JSON of the right type.
func badCredentials(data []byte) (offset int, registry string, ok bool) {
	_, top, _, err := members(data)
	if err != nil {
		return 0, "", false
	}
	for _, auths := range top {
		if !strings.EqualFold(auths.name, "auths") || data[auths.valueStart] != '{' {
			continue
		}
		_, list, _, err := members(data[auths.valueStart:])
		if err != nil {
			return 0, "", false
		}
		for _, m := range list {
			start, end := auths.valueStart+m.valueStart, auths.valueStart+m.valueEnd
			alone := fmt.Appendf(nil, `{"auths":{"registry":%s}}`, data[start:end])
			if _, err := dockerconfig.LoadFromReader(bytes.NewReader(alone)); err != nil {
				return start, m.name, true
			}
		}
	}
	return 0, "", false
}

// refusedSyntax finds the place of an error that a [json.Decoder] had with data.
func refusedSyntax(data []byte, err error) error {
	offset := len(data)
	// An end that comes too early is not at the last byte, but behind it.
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		// A Decoder counts from where it last filled its buffer.
		syntax, ok := errors.AsType[*json.SyntaxError](json.Unmarshal(data, new(json.RawMessage)))
		if ok {
			err = syntax
			offset = int(syntax.Offset) - 1
		}
	}
	return refusedAt(data, offset, InvalidJSON, "is not valid JSON: "+err.Error())
}

// tokenAt returns where the JSON token that covers offset begins.
func tokenAt(data []byte, offset int) int {
	dec := json.NewDecoder(bytes.NewReader(data))
	for {
		start := int(dec.InputOffset())
		if _, err := dec.Token(); err != nil {
			return offset
		}
		if int(dec.InputOffset()) > offset {
			return skipTo(data, start)
		}
	}
}

// skipTo returns where the next token begins, behind the end of another.
func skipTo(data []byte, i int) int {
	for i < len(data) && (isSpace(data[i]) || data[i] == ',' || data[i] == ':') {
		i++
	}
	return i
}

func refusedAt(data []byte, offset int, reason Reason, detail string) error {
	return refuse(finding(data, offset, reason, detail))
}

func finding(data []byte, offset int, reason Reason, detail string) *RefusedError {
	line, column := position(data, offset)
	return &RefusedError{Reason: reason, Line: line, Column: column, Detail: detail}
}

// position turns an offset into a line and a column in characters, both from 1.
func position(data []byte, offset int) (line, column int) {
	before := data[:min(offset, len(data))]
	start := bytes.LastIndexByte(before, '\n') + 1
	return bytes.Count(before, []byte("\n")) + 1, utf8.RuneCount(before[start:]) + 1
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

func skipSpace(data []byte, i int) int {
	for i < len(data) && isSpace(data[i]) {
		i++
	}
	return i
}

func spaceBefore(data []byte, i int) string {
	start := i
	for start > 0 && isSpace(data[start-1]) {
		start--
	}
	return string(data[start:i])
}

func splice(data []byte, from, to int, with string) []byte {
	out := make([]byte, 0, len(data)-(to-from)+len(with))
	out = append(out, data[:from]...)
	out = append(out, with...)
	return append(out, data[to:]...)
}

// quote encodes s as JSON without the escapes of &, < and > that are for HTML.
func quote(s string) string {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(s); err != nil {
		panic(err) // a string can always be encoded
	}
	return strings.TrimSuffix(b.String(), "\n")
}

package configfile

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"unicode/utf8"

	dockerconfig "github.com/docker/cli/cli/config"
	dockerconfigfile "github.com/docker/cli/cli/config/configfile"
	"github.com/go-json-experiment/json/jsontext"
)

// key is the one key that is ever changed.
const key = "currentContext"

// What is around the key in a new file; docker indents by a tab.
const newFileOpen, newFileClose = "{\n\t", "\n}\n"

// A document is a configuration file that docker can decode and that can be edited.
type document struct {
	object
	blank   bool  // no value at all, which docker reads as {}
	ours    []int // members that docker decodes as currentContext
	winner  int   // the member that counts, -1 for none
	current Value // what it says
}

var byteOrderMark = []byte("\xef\xbb\xbf")

// parse finds the members of a configuration file. A file that docker can't decode,
// or that has more than one value, is a *[RefusedError] without a path.
func parse(data []byte) (*document, error) {
	d := &document{object: object{data: data}, winner: -1}
	if bytes.HasPrefix(data, byteOrderMark) {
		return nil, refusedAt(data, 0, BOM, "begins with a byte-order mark")
	}
	start := skip(data, 0, whitespace)
	if start == len(data) {
		d.blank = true
		return d, nil
	}
	// Docker's own decoder has the last word on what it can load and what it sees.
	config, err := dockerconfig.LoadFromReader(bytes.NewReader(data))
	if err != nil {
		return nil, refusedDecoding(data, err)
	}
	d.current.Name = config.CurrentContext
	if data[start] != '{' {
		return nil, refusedAt(data, start, WrongType, "is not a JSON object") // null
	}
	if d.object, err = readObject(data); err != nil {
		return nil, err
	}
	if next := skip(data, d.end, whitespace); next < len(data) {
		return nil, refusedAt(data, next, TrailingData, "there is more data after the JSON object")
	}
	for i, m := range d.members {
		// encoding/json prefers no spelling: it folds case, the last one wins, and
		// null leaves what an earlier one has set.
		if !strings.EqualFold(m.name, key) {
			continue
		}
		if d.winner < 0 || data[m.valueStart] != 'n' || data[d.members[d.winner].valueStart] == 'n' {
			d.winner = i
		}
		d.ours = append(d.ours, i)
	}
	if d.current.Name == "" && len(d.ours) == 1 {
		d.current.Unset = string(d.value(d.winner))
	}
	return d, nil
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
		after = d.put(d.winner, quote(next.Name))
	case next.Name != "":
		after = d.add(quote(key)+d.colon()+quote(next.Name), "", exists)
	case next.Unset != "" && len(d.ours) == 1:
		after = d.put(d.winner, next.Unset)
	case len(d.ours) > 1:
		after = d.put(d.winner, `""`) // without the last one docker would see an earlier one
	default:
		after = d.remove(d.winner)
	}
	return after, sees(after, key, next.Name, func(c *dockerconfigfile.ConfigFile) string { return c.CurrentContext })
}

// add adds a member to the file, or to the object that a blank one gets. First is as in insert.
func (d *document) add(member, first string, exists bool) []byte {
	switch {
	case d.blank && !exists:
		return []byte(newFileOpen + member + newFileClose)
	case d.blank:
		return splice(d.data, 0, 0, "{"+member+"}")
	}
	return d.insert(member, first)
}

// sees returns an error if docker does not see the value: a mistake of ours must not reach the
// file.
func sees(data []byte, name, value string, of func(*dockerconfigfile.ConfigFile) string) error {
	config, err := dockerconfig.LoadFromReader(bytes.NewReader(data))
	if err == nil && of(config) != value {
		err = fmt.Errorf("docker would see %q", of(config))
	}
	if err != nil {
		return fmt.Errorf("%s can't be set to %q: %w", name, value, err)
	}
	return nil
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
			detail := fmt.Sprintf("key %q occurs more than once", written)
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
	n, objects := newer.(map[string]any)
	o, ok := older.(map[string]any)
	if !objects || !ok {
		return reflect.DeepEqual(newer, older)
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
	top, err := readObject(data)
	if err != nil {
		return 0, "", false
	}
	for _, auths := range top.members {
		if !strings.EqualFold(auths.name, "auths") || data[auths.valueStart] != '{' {
			continue
		}
		list, err := readObject(data[auths.valueStart:])
		if err != nil {
			return 0, "", false
		}
		for _, m := range list.members {
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
			return skip(data, start, whitespace+",:")
		}
	}
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

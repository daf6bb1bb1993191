// Package jsonscan reads JSON of a known shape about ten times as fast as encoding/json,
// which finds fields by reflection and copies every string.
//
// Values mean what they mean to encoding/json, with two exceptions: names must have the
// very case that is asked for, and an object's names are taken one after the other,
// however often they come.
package jsonscan

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
	"unsafe"
)

// A Scanner reads a text from its beginning to its end: each call takes one value, or the
// part of one that it names. After the first thing that is not as asked for, Err is set,
// calls return zero values, and nothing that was read counts.
type Scanner struct {
	text  string
	pos   int
	err   error
	share bool
}

// New returns a scanner whose strings are copies. The text must stay as it is until all
// is read.
func New(text []byte) *Scanner {
	return &Scanner{text: unsafe.String(unsafe.SliceData(text), len(text))}
}

// NewSharing returns a scanner whose strings share the memory of the text where they can.
func NewSharing(text string) *Scanner { return &Scanner{text: text, share: true} }

// Err returns what is wrong with what was read so far.
func (s *Scanner) Err() error { return s.err }

// End returns Err, or an error where there is more text than was read.
func (s *Scanner) End() error {
	if s.next(); s.pos < len(s.text) {
		s.Fail("the end")
	}
	return s.err
}

// Fail says that something else was expected here.
func (s *Scanner) Fail(expected string) {
	if s.err == nil {
		const some = 20
		s.err = fmt.Errorf("byte %d is %.*q, want %s", s.pos, some, s.text[min(s.pos, len(s.text)):], expected)
	}
	s.pos = len(s.text)
}

// next skips white space and returns the byte after it, 0 at the end.
func (s *Scanner) next() byte {
	for s.pos < len(s.text) {
		switch c := s.text[s.pos]; c {
		case ' ', '\t', '\r', '\n':
			s.pos++
		default:
			return c
		}
	}
	return 0
}

// accept takes the byte if it is the next one.
func (s *Scanner) accept(c byte) bool {
	if s.next() != c {
		return false
	}
	s.pos++
	return true
}

// Expect takes the byte, which must be the next one.
func (s *Scanner) Expect(c byte) {
	if !s.accept(c) {
		s.Fail(strconv.QuoteRune(rune(c)))
	}
}

func (s *Scanner) word(w string) {
	if !strings.HasPrefix(s.text[s.pos:], w) {
		s.Fail(w)
		return
	}
	s.pos += len(w)
}

// Null takes a null if that is what is next.
func (s *Scanner) Null() bool {
	if s.next() != 'n' {
		return false
	}
	s.word("null")
	return true
}

// Object calls field for each field, which must take the value. For null it calls none.
func (s *Scanner) Object(field func(name string)) {
	if s.Null() {
		return
	}
	s.Expect('{')
	if s.accept('}') {
		return
	}
	for s.err == nil {
		s.field(field)
		if !s.accept(',') {
			s.Expect('}')
			return
		}
	}
}

// Fields is Object without the braces, to the end of the text.
func (s *Scanner) Fields(field func(name string)) {
	if s.next() == 0 {
		return
	}
	for s.err == nil {
		s.field(field)
		if s.next() == 0 {
			return
		}
		s.Expect(',')
	}
}

func (s *Scanner) field(field func(name string)) {
	name := s.raw()
	s.Expect(':')
	if s.err == nil {
		field(name)
	}
}

// Array calls item for each item, which must take it. For null it calls none.
func (s *Scanner) Array(item func()) {
	if s.Null() {
		return
	}
	s.Expect('[')
	if s.accept(']') {
		return
	}
	for s.err == nil {
		item()
		if !s.accept(',') {
			s.Expect(']')
			return
		}
	}
}

// String takes a string; null is an empty one.
func (s *Scanner) String() string {
	if s.Null() {
		return ""
	}
	text := s.raw()
	if !s.share {
		text = strings.Clone(text)
	}
	return text
}

// plain are the bytes of a string that stand for themselves, whatever is around them.
var plain = func() (table [256]bool) {
	for c := ' '; c < utf8.RuneSelf; c++ {
		table[c] = c != '"' && c != '\\'
	}
	return table
}()

// raw takes a string, which may share the memory of the text.
func (s *Scanner) raw() string {
	s.Expect('"')
	start, i := s.pos, s.pos
	for i < len(s.text) && plain[s.text[i]] {
		i++
	}
	if i < len(s.text) && s.text[i] == '"' {
		s.pos = i + 1
		return s.text[start:i]
	}
	return s.unquote(start, i)
}

// unquote takes the rest of a string in which not every byte is plain.
func (s *Scanner) unquote(start, i int) string {
	for asIs := true; i < len(s.text); i++ {
		switch c := s.text[i]; {
		case c == '"':
			value := s.text[start:i]
			if !asIs || !utf8.ValidString(value) {
				if json.Unmarshal([]byte(s.text[start-1:i+1]), &value) != nil {
					s.Fail("a string")
					return ""
				}
			}
			s.pos = i + 1
			return value
		case c == '\\':
			asIs = false
			i++
		case c < ' ':
			asIs = false
		}
	}
	s.Fail("the end of a string")
	return ""
}

// number takes a number's text.
func (s *Scanner) number() string {
	s.next()
	start, i := s.pos, s.pos
	at := func(chars string) bool {
		if i < len(s.text) && strings.IndexByte(chars, s.text[i]) >= 0 {
			i++
			return true
		}
		return false
	}
	digits := func() bool {
		begin := i
		for i < len(s.text) && s.text[i] >= '0' && s.text[i] <= '9' {
			i++
		}
		return i > begin
	}
	at("-")
	ok := at("0") || digits()
	if at(".") {
		ok = ok && digits()
	}
	if at("eE") {
		at("+-")
		ok = ok && digits()
	}
	if !ok {
		s.Fail("a number")
		return ""
	}
	s.pos = i
	return s.text[start:i]
}

// Int takes an integer of so many bits, 0 for those of an int; null is 0.
func (s *Scanner) Int(bits int) int64 {
	if s.Null() {
		return 0
	}
	start := s.pos
	n, err := strconv.ParseInt(s.number(), 10, bits)
	if err != nil && s.err == nil {
		s.pos = start
		s.Fail("an integer that fits")
	}
	return n
}

// Uint is Int for integers that are not negative.
func (s *Scanner) Uint(bits int) uint64 {
	if s.Null() {
		return 0
	}
	start := s.pos
	n, err := strconv.ParseUint(s.number(), 10, bits)
	if err != nil && s.err == nil {
		s.pos = start
		s.Fail("an integer that fits")
	}
	return n
}

// Bool takes a boolean; null is false.
func (s *Scanner) Bool() bool {
	switch s.next() {
	case 't':
		s.word("true")
		return s.err == nil
	case 'n':
		s.word("null")
	default:
		s.word("false")
	}
	return false
}

// Time takes a time in RFC 3339; null is the zero time.
func (s *Scanner) Time() time.Time {
	if s.Null() {
		return time.Time{}
	}
	start := s.pos
	var t time.Time
	if err := t.UnmarshalText([]byte(s.raw())); err != nil && s.err == nil {
		s.pos = start
		s.Fail("a time")
	}
	return t
}

// List takes an array whose items one takes; nil for null.
func List[T any](s *Scanner, one func(*Scanner) T) []T {
	if s.Null() {
		return nil
	}
	list := []T{}
	s.Array(func() { list = append(list, one(s)) })
	return list
}

// Map takes an object whose values one takes; nil for null.
func Map[T any](s *Scanner, one func(*Scanner) T) map[string]T {
	if s.Null() {
		return nil
	}
	m := map[string]T{}
	s.Object(func(name string) {
		if !s.share {
			name = strings.Clone(name)
		}
		m[name] = one(s)
	})
	return m
}

// Value takes any value and returns its text.
func (s *Scanner) Value() string {
	s.next()
	start := s.pos
	s.Skip()
	if s.err != nil {
		return ""
	}
	return s.text[start:s.pos]
}

// Skip takes any value.
func (s *Scanner) Skip() { s.skip(0) }

// maxDepth is how deep values that are skipped may be nested, as in encoding/json.
const maxDepth = 10000

func (s *Scanner) skip(depth int) {
	if depth > maxDepth {
		s.Fail("less depth")
		return
	}
	switch s.next() {
	case '{':
		s.Object(func(string) { s.skip(depth + 1) })
	case '[':
		s.Array(func() { s.skip(depth + 1) })
	case '"':
		s.raw()
	case 't', 'f', 'n':
		s.Bool()
	default:
		s.number()
	}
}

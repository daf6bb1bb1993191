package state

import (
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"time"
)

// errScan says that a scanner met something that it does not know. It says no more,
// because encoding/json reads the text again then and has better words.
var errScan = errors.New("not as the state file is written")

// A scanner reads JSON about ten times as fast as encoding/json, which finds fields
// by reflection and copies every string. Strings that have no escapes share the
// memory of the text.
//
// It is for files that are as a [State] is encoded. After the first thing that is
// not, err is set and nothing that was read counts.
type scanner struct {
	text string
	pos  int
	err  error
}

func (s *scanner) fail() {
	s.err = errScan
	s.pos = len(s.text)
}

// next skips white space and returns the byte after it, 0 at the end.
func (s *scanner) next() byte {
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
func (s *scanner) accept(c byte) bool {
	if s.next() != c {
		return false
	}
	s.pos++
	return true
}

func (s *scanner) expect(c byte) {
	if !s.accept(c) {
		s.fail()
	}
}

// word takes a literal.
func (s *scanner) word(w string) {
	if s.next(); len(s.text)-s.pos < len(w) || s.text[s.pos:s.pos+len(w)] != w {
		s.fail()
		return
	}
	s.pos += len(w)
}

// object calls field for each field, which must read the value.
func (s *scanner) object(field func(name string)) {
	s.expect('{')
	if s.accept('}') {
		return
	}
	for s.err == nil {
		name := s.string()
		s.expect(':')
		if s.err != nil {
			return
		}
		field(name)
		if !s.accept(',') {
			s.expect('}')
			return
		}
	}
}

// pairs is object without the braces, to the end of the text.
func (s *scanner) pairs(field func(name string)) {
	if s.next() == 0 {
		return
	}
	for s.err == nil {
		name := s.string()
		s.expect(':')
		if s.err != nil {
			return
		}
		field(name)
		if s.next() == 0 {
			return
		}
		s.expect(',')
	}
}

// array calls item for each item, which must read it.
func (s *scanner) array(item func()) {
	s.expect('[')
	if s.accept(']') {
		return
	}
	for s.err == nil {
		item()
		if !s.accept(',') {
			s.expect(']')
			return
		}
	}
}

func (s *scanner) string() string {
	s.expect('"')
	start := s.pos
	for i := start; i < len(s.text); i++ {
		switch c := s.text[i]; {
		case c == '"':
			s.pos = i + 1
			return s.text[start:i]
		case c == '\\' || c < ' ' || c > '~':
			return s.unquote(start, i)
		}
	}
	s.fail()
	return ""
}

// unquote reads a string with escapes or other characters than ASCII's.
func (s *scanner) unquote(start, i int) string {
	for ; i < len(s.text); i++ {
		switch s.text[i] {
		case '\\':
			i++
		case '"':
			var value string
			if json.Unmarshal([]byte(s.text[start-1:i+1]), &value) != nil {
				s.fail()
			}
			s.pos = i + 1
			return value
		}
	}
	s.fail()
	return ""
}

// number takes a number's text. Where JSON is stricter than strconv, it is empty.
func (s *scanner) number() string {
	s.next()
	start := s.pos
	for s.pos < len(s.text) && strings.IndexByte("0123456789-+.eE", s.text[s.pos]) >= 0 {
		s.pos++
	}
	n := s.text[start:s.pos]
	digits := strings.TrimPrefix(n, "-")
	if digits == "" || digits[0] < '0' || digits[0] > '9' || len(digits) > 1 && digits[0] == '0' && digits[1] >= '0' && digits[1] <= '9' {
		return ""
	}
	return n
}

func (s *scanner) int(bits int) int64 {
	n, err := strconv.ParseInt(s.number(), 10, bits)
	if err != nil {
		s.fail()
	}
	return n
}

func (s *scanner) uint(bits int) uint64 {
	n, err := strconv.ParseUint(s.number(), 10, bits)
	if err != nil {
		s.fail()
	}
	return n
}

func (s *scanner) bool() bool {
	if s.next() == 't' {
		s.word("true")
		return true
	}
	s.word("false")
	return false
}

func (s *scanner) time() time.Time {
	t, err := time.Parse(time.RFC3339Nano, s.string())
	if err != nil {
		s.fail()
	}
	return t
}

func (s *scanner) strings() []string {
	list := []string{}
	s.array(func() { list = append(list, s.string()) })
	return list
}

func (s *scanner) stringMap() map[string]string {
	m := map[string]string{}
	s.object(func(name string) { m[name] = s.string() })
	return m
}

// value takes any value and returns its text.
func (s *scanner) value() string {
	s.next()
	start := s.pos
	s.skip(0)
	if s.err != nil {
		return ""
	}
	return s.text[start:s.pos]
}

// maxDepth is how deep unknown values may be nested.
const maxDepth = 100

func (s *scanner) skip(depth int) {
	if depth > maxDepth {
		s.fail()
		return
	}
	switch c := s.next(); c {
	case '{':
		s.object(func(string) { s.skip(depth + 1) })
	case '[':
		s.array(func() { s.skip(depth + 1) })
	case '"':
		s.string()
	case 't', 'f':
		s.bool()
	case 'n':
		s.word("null")
	default:
		n := s.number()
		if !json.Valid([]byte(n)) {
			s.fail()
		}
	}
}

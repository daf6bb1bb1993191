package state

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/docker-rd/docker-rd/internal/test/jsontest"
)

// The fast decoder reads what encoding/json reads: a state with every field set.
func TestDecode(t *testing.T) {
	for seed := range uint64(50) {
		want := fill[State](rand.New(rand.NewPCG(seed, 0)))
		data, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		got, err := decode(string(data))
		if err != nil {
			t.Fatalf("seed %d: %v\n%s", seed, err, data)
		}
		compare(t, data, got)
	}
}

// A field that is added to a type must be added to the decoder too: fill sets every
// field, so that one that is forgotten differs.
func compare(t *testing.T, data []byte, got *State) {
	t.Helper()
	var want State
	if err := json.Unmarshal(data, &want); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(*got, want) {
		a, _ := json.Marshal(got)
		b, _ := json.Marshal(want)
		t.Errorf("decoded\n%s\nwant\n%s", a, b)
	}
}

// The parts are the same as the whole, wherever they are cut.
func TestDecodeParts(t *testing.T) {
	for seed := range uint64(50) {
		data := written(fill[State](rand.New(rand.NewPCG(seed, 0))))
		for _, size := range []int{0, 1, 700, 1 << 20} {
			got, err := decodeParts(string(data), size)
			if err != nil {
				t.Fatalf("seed %d, size %d: %v\n%s", seed, size, err, data)
			}
			compare(t, data, got)
		}
		for _, cut := range []int{2, 3, 100, len(data) / 2, len(data) - 100} {
			if s, err := decodeParts(string(data[:len(data)-cut]), 700); err == nil {
				t.Fatalf("seed %d: taken without the last %d bytes: %+v", seed, cut, s)
			}
		}
	}
}

// written is a state as the store lays it out.
func written(s State) []byte {
	data, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	var fields []struct {
		name  string
		value json.RawMessage
	}
	d := json.NewDecoder(bytes.NewReader(data))
	_, _ = d.Token()
	for d.More() {
		name, _ := d.Token()
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			panic(err)
		}
		fields = append(fields, struct {
			name  string
			value json.RawMessage
		}{name.(string), value})
	}
	var b bytes.Buffer
	b.WriteByte('{')
	for i, f := range fields {
		if i > 0 {
			b.WriteByte(',')
		}
		var objects map[string]json.RawMessage
		kind := slices.Contains(Kinds(), Kind(f.name))
		if kind || f.name == "deleted" {
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "%q:", f.name)
		if !kind {
			b.Write(f.value)
			continue
		}
		if err := json.Unmarshal(f.value, &objects); err != nil {
			panic(err)
		}
		sep := "{"
		for _, key := range slices.Sorted(maps.Keys(objects)) {
			quoted, _ := json.Marshal(key)
			fmt.Fprintf(&b, "%s\n%s:%s", sep, quoted, objects[key])
			sep = ","
		}
		if sep == "{" {
			b.WriteByte('{')
		}
		b.WriteByte('}')
	}
	b.WriteString("}\n")
	return b.Bytes()
}

func TestDecodeRefuses(t *testing.T) {
	for _, text := range []string{
		``, `{`, `{"schemaVersion":1`, `{"schemaVersion":1}x`, `{"schemaVersion":1,}`, `{"schemaVersion":1.5}`,
		`{"revision":-1}`, `{"containers":[]}`, `{"containers":{"a":{"id":1}}}`,
		`{"containers":{"a":{"id":"\x"}}}`, `{"containers":{"a":{"id":"` + "\n" + `"}}}`, `{"x":tru}`, `{"x":1e}`, `{"x":[1}`,
		`{"writtenAt":"yesterday"}`, `[]`, "{}\x00", `{"revision":01}`,
	} {
		if s, err := decode(text); err == nil {
			t.Errorf("decode(%q) = %+v, want an error", text, s)
		}
	}
}

// Whatever the text: what the fast decoder takes, encoding/json reads in the same way.
func FuzzDecode(f *testing.F) {
	data, err := json.Marshal(fill[State](rand.New(rand.NewPCG(1, 2))))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(data))
	f.Add(`{"schemaVersion":1,"unknown":{"a":[1,-2.5e3,"\u00e9",true,null]},"containers":{"a":{"name":"<ü>","revision":7}}}`)
	f.Add(`{ "deleted" : [ ] , "images" : { } }`)
	f.Add(`{"deleted":null,"images":null,"containers":{"a":null,"b":{"lastAction":null,"args":null,"ports":[null],"id":null,"pid":null}}}`)
	f.Fuzz(func(t *testing.T, text string) {
		got, err := decode(text)
		if err != nil || !jsontest.Plain(text, reflect.TypeFor[State]()) {
			return
		}
		compare(t, []byte(text), got)
	})
}

// fill returns a value with every field of every type in it set.
func fill[T any](r *rand.Rand) T {
	var v T
	fillValue(r, reflect.ValueOf(&v).Elem())
	return v
}

var odd = []string{"plain", "", `"quoted" \ <html> & more`, "ünïcödé \u2028", "\x00\n\t", "a,b:{}[]"}

func fillValue(r *rand.Rand, v reflect.Value) {
	if v.Type() == reflect.TypeFor[time.Time]() {
		v.Set(reflect.ValueOf(time.Unix(r.Int64N(1<<33), r.Int64N(1e9)).UTC()))
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			fillValue(r, v.Field(i))
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fillValue(r, v.Elem())
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		for i := range r.IntN(3) + 1 {
			value := reflect.New(v.Type().Elem()).Elem()
			fillValue(r, value)
			v.SetMapIndex(reflect.ValueOf(fmt.Sprint(odd[r.IntN(len(odd))], i)), value)
		}
	case reflect.Slice:
		n := r.IntN(3)
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			fillValue(r, v.Index(i))
		}
	case reflect.String:
		v.SetString(fmt.Sprint(odd[r.IntN(len(odd))], r.IntN(100)))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(r.Int64N(1000) - 200)
	case reflect.Uint16:
		v.SetUint(r.Uint64N(1<<16-1) + 1)
	case reflect.Uint64:
		v.SetUint(r.Uint64() | 1)
	default:
		panic(v.Type().String())
	}
}

func BenchmarkParse(b *testing.B) {
	s := State{SchemaVersion: SchemaVersion, Containers: map[string]Container{}}
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 1000 {
		c := fill[Container](r)
		s.Containers[fmt.Sprintf("%064d", i)] = c
	}
	data, err := json.Marshal(s)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if _, err := Parse("state.json", data); err != nil {
			b.Fatal(err)
		}
	}
}

package containerd

import (
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"sync"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// wire is the codec of messages: structs whose fields have their number in a tag `pb:"…"`. What a
// message has besides is not read.
type wire struct{}

// Name implements [google.golang.org/grpc/encoding.Codec].
func (wire) Name() string { return "proto" }

// Marshal implements [google.golang.org/grpc/encoding.Codec].
func (wire) Marshal(v any) ([]byte, error) {
	return appendMessage(reflect.Indirect(reflect.ValueOf(v))), nil
}

// Unmarshal implements [google.golang.org/grpc/encoding.Codec].
func (wire) Unmarshal(data []byte, v any) error {
	return readMessage(data, reflect.ValueOf(v).Elem())
}

var (
	timeType = reflect.TypeFor[time.Time]()
	mapType  = reflect.TypeFor[map[string]string]()
	byteType = reflect.TypeFor[[]byte]()
)

// numbered holds the index of each field of a message's type by its number.
var numbered sync.Map // of map[protowire.Number]int, by reflect.Type

func fieldsOf(t reflect.Type) map[protowire.Number]int {
	if known, ok := numbered.Load(t); ok {
		return known.(map[protowire.Number]int)
	}
	fields := map[protowire.Number]int{}
	for i := range t.NumField() {
		if n, err := strconv.Atoi(t.Field(i).Tag.Get("pb")); err == nil {
			fields[protowire.Number(n)] = i
		}
	}
	numbered.Store(t, fields)
	return fields
}

func appendMessage(v reflect.Value) (b []byte) {
	for number, i := range fieldsOf(v.Type()) {
		b = appendField(b, number, v.Field(i))
	}
	return b
}

// appendField appends a field, unless it is zero.
func appendField(b []byte, n protowire.Number, v reflect.Value) []byte {
	if v.IsZero() {
		return b
	}
	nested := func(message []byte) []byte {
		return protowire.AppendBytes(protowire.AppendTag(b, n, protowire.BytesType), message)
	}
	switch {
	case v.Type() == byteType:
		return nested(v.Bytes())
	case v.Kind() == reflect.Slice:
		for i := range v.Len() {
			if e := v.Index(i); e.Kind() == reflect.Struct {
				b = protowire.AppendBytes(protowire.AppendTag(b, n, protowire.BytesType), appendMessage(e))
			} else {
				b = protowire.AppendString(protowire.AppendTag(b, n, protowire.BytesType), e.String())
			}
		}
		return b
	case v.Type() == mapType:
		for key, value := range v.Interface().(map[string]string) {
			b = appendField(b, n, reflect.ValueOf(struct {
				Key   string `pb:"1"`
				Value string `pb:"2"`
			}{key, value}))
		}
		return b
	case v.Kind() == reflect.String:
		return nested([]byte(v.String()))
	case v.Kind() == reflect.Bool:
		return protowire.AppendVarint(protowire.AppendTag(b, n, protowire.VarintType), 1)
	case v.CanInt():
		return protowire.AppendVarint(protowire.AppendTag(b, n, protowire.VarintType), uint64(v.Int()))
	case v.Kind() == reflect.Pointer:
		return nested(appendMessage(v.Elem()))
	case v.Kind() == reflect.Struct:
		return nested(appendMessage(v))
	}
	panic(fmt.Sprintf("a message can't have a %s", v.Type()))
}

var errWire = errors.New("the message can't be read")

func readMessage(data []byte, v reflect.Value) error {
	fields := fieldsOf(v.Type())
	for len(data) > 0 {
		number, typ, n := protowire.ConsumeTag(data)
		if n < 0 {
			return errWire
		}
		data = data[n:]
		n = protowire.ConsumeFieldValue(number, typ, data)
		if n < 0 {
			return errWire
		}
		i, known := fields[number]
		value := data[:n]
		data = data[n:]
		if !known {
			continue
		}
		if err := readField(value, typ, v.Field(i)); err != nil {
			return err
		}
	}
	return nil
}

func readField(value []byte, typ protowire.Type, v reflect.Value) error {
	if typ == protowire.VarintType {
		number, _ := protowire.ConsumeVarint(value)
		switch {
		case v.Kind() == reflect.Bool:
			v.SetBool(number != 0)
		case v.CanInt():
			v.SetInt(int64(number))
		default:
			return errWire
		}
		return nil
	}
	if typ != protowire.BytesType {
		return errWire
	}
	value, _ = protowire.ConsumeBytes(value)
	switch {
	case v.Type() == timeType:
		var t struct {
			Seconds int64 `pb:"1"`
			Nanos   int64 `pb:"2"`
		}
		if err := readMessage(value, reflect.ValueOf(&t).Elem()); err != nil {
			return err
		}
		v.Set(reflect.ValueOf(time.Unix(t.Seconds, t.Nanos).UTC()))
	case v.Type() == byteType:
		v.SetBytes(append([]byte(nil), value...))
	case v.Type() == mapType:
		var entry struct {
			Key   string `pb:"1"`
			Value string `pb:"2"`
		}
		if err := readMessage(value, reflect.ValueOf(&entry).Elem()); err != nil {
			return err
		}
		if v.IsNil() {
			v.Set(reflect.MakeMap(mapType))
		}
		v.SetMapIndex(reflect.ValueOf(entry.Key), reflect.ValueOf(entry.Value))
	case v.Kind() == reflect.Slice:
		element := reflect.New(v.Type().Elem()).Elem()
		if err := readField(protowire.AppendBytes(nil, value), typ, element); err != nil {
			return err
		}
		v.Set(reflect.Append(v, element))
	case v.Kind() == reflect.String:
		v.SetString(string(value))
	case v.Kind() == reflect.Pointer:
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
		}
		return readMessage(value, v.Elem())
	case v.Kind() == reflect.Struct:
		return readMessage(value, v)
	default:
		return errWire
	}
	return nil
}

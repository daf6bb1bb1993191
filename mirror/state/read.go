package state

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"unsafe"
)

// ErrCorrupt is what a [CorruptError] matches with errors.Is.
var ErrCorrupt = errors.New("state file is corrupt")

// CorruptError says that a state file is empty, torn or not a state file. It
// matches [ErrCorrupt]. The supervisor makes the file anew from the engine.
type CorruptError struct {
	Path string
	Err  error
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("state file %q is corrupt: %v", e.Path, e.Err)
}

func (e *CorruptError) Unwrap() []error { return []error{ErrCorrupt, e.Err} }

// NewerSchemaError says that a state file was written by a later version in a
// format that this one does not know.
type NewerSchemaError struct {
	Path    string
	Version int // the file's schema version
}

func (e *NewerSchemaError) Error() string {
	return fmt.Sprintf("state file %q has schema version %d, newer than the known %d", e.Path, e.Version, SchemaVersion)
}

// Read reads the state file at path. A missing file is fs.ErrNotExist, a torn or
// empty one a *[CorruptError], one of a later format a *[NewerSchemaError].
func Read(path string) (*State, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, err
	}
	// Nobody writes into data: it need not be copied to be a string.
	return parse(path, data, unsafe.String(unsafe.SliceData(data), len(data)))
}

// Parse is [Read] for content that is at hand. The path is for error messages.
func Parse(path string, data []byte) (*State, error) { return parse(path, data, string(data)) }

func parse(path string, data []byte, text string) (*State, error) {
	version, err := schemaVersion(data)
	if err != nil {
		return nil, &CorruptError{Path: path, Err: err}
	}
	if version > SchemaVersion {
		return nil, &NewerSchemaError{Path: path, Version: version}
	}
	if s, err := decode(text); err == nil {
		return s, nil
	}
	var s State
	if err := json.Unmarshal(data, &s); err != nil {
		return nil, &CorruptError{Path: path, Err: err}
	}
	return &s, nil
}

// ReadHead is [Read] without the objects and the deleted ones: it costs the same
// for an engine with ten thousand containers as for an empty one.
func ReadHead(path string) (*State, error) {
	file, err := open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	s, err := parseHead(file)
	if err != nil {
		if _, ok := errors.AsType[*os.PathError](err); ok {
			return nil, fmt.Errorf("read state file: %w", err)
		}
		return nil, &CorruptError{Path: path, Err: err}
	}
	if s.SchemaVersion > SchemaVersion {
		return nil, &NewerSchemaError{Path: path, Version: s.SchemaVersion}
	}
	return s, nil
}

// parseHead reads the fields before the first kind of objects, which come last.
func parseHead(r io.Reader) (*State, error) {
	d := json.NewDecoder(r)
	if t, err := d.Token(); err != nil {
		return nil, err
	} else if t != json.Delim('{') {
		return nil, errors.New("not a JSON object")
	}
	var s State
	fields := map[string]any{
		"schemaVersion": &s.SchemaVersion,
		"revision":      &s.Revision,
		"writtenAt":     &s.WrittenAt,
		"supervisor":    &s.Supervisor,
		"instance":      &s.Instance,
		"engine":        &s.Engine,
		"conditions":    &s.Conditions,
		"mirror":        &s.Mirror,
	}
	for {
		t, err := d.Token() // at the end of a torn file, an error: More would only say no
		if err != nil {
			return nil, err
		}
		if t == json.Delim('}') {
			break
		}
		key, _ := t.(string)
		if key == string(Containers) || s.SchemaVersion > SchemaVersion {
			break
		}
		field, ok := fields[key]
		if !ok {
			field = new(json.RawMessage)
		}
		if err := d.Decode(field); err != nil {
			return nil, err
		}
	}
	if s.SchemaVersion < 1 {
		return nil, errNoVersion
	}
	return &s, nil
}

var errNoVersion = errors.New("it has no schema version")

// schemaVersion finds the version without a look at the rest, which a later
// version may have given other types. It is the first field of every file of ours.
func schemaVersion(data []byte) (int, error) {
	if len(bytes.TrimSpace(data)) == 0 {
		return 0, errors.New("it is empty")
	}
	s, err := parseHead(bytes.NewReader(data))
	if err != nil {
		return 0, err
	}
	return s.SchemaVersion, nil
}

// open opens the file so that it can be replaced meanwhile: os.Root opens with
// FILE_SHARE_DELETE on Windows, os.Open does not.
func open(path string) (*os.File, error) {
	file, err := os.OpenInRoot(filepath.Dir(path), filepath.Base(path))
	if err != nil {
		return nil, fmt.Errorf("read state file %q: %w", path, err)
	}
	return file, nil
}

func readFile(path string) ([]byte, error) {
	file, err := open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	var size int64
	if info, err := file.Stat(); err == nil {
		size = info.Size()
	}
	data := bytes.NewBuffer(make([]byte, 0, size+bytes.MinRead))
	if _, err := data.ReadFrom(file); err != nil {
		return nil, fmt.Errorf("read state file %q: %w", path, err)
	}
	return data.Bytes(), nil
}

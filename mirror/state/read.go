package state

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/docker-rd/docker-rd/internal/files"
)

// ErrCorrupt is matched by the errors for a state file that is empty, torn or not a state file. The
// supervisor rebuilds it from the engine.
var ErrCorrupt = errors.New("is corrupt")

func corrupt(path string, err error) error {
	return fmt.Errorf("state file %q %w: %w", path, ErrCorrupt, err)
}

// NewerSchemaError says that a later version has written the state file, in a format that this
// one does not know.
type NewerSchemaError struct {
	Path    string
	Version int // the file's schema version
}

func (e *NewerSchemaError) Error() string {
	return fmt.Sprintf("state file %q has schema version %d, newer than the known %d", e.Path, e.Version, SchemaVersion)
}

// Read reads the state file at path. A missing file is fs.ErrNotExist, a torn or
// empty one [ErrCorrupt], one of a later format a *[NewerSchemaError].
func Read(path string) (*State, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, err
	}
	return Parse(path, data)
}

// Parse is [Read] for the content of a file. The path is for error messages.
func Parse(path string, data []byte) (*State, error) {
	// The version first: in a later one, other fields may have other types.
	if _, err := parseHead(path, bytes.NewReader(data)); err != nil {
		return nil, err
	}
	var s State
	if err := json.Unmarshal(data, &s); err != nil {
		return nil, corrupt(path, err)
	}
	return &s, nil
}

// ReadHead is [Read] without the objects and tombstones, at the same cost for any number of them.
func ReadHead(path string) (*State, error) {
	file, err := open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return parseHead(path, file)
}

// parseHead reads the fields before the first kind of objects. The schema version is always the
// first field.
func parseHead(path string, r io.Reader) (*State, error) {
	var s State
	err := s.readHead(jsontext.NewDecoder(r))
	switch {
	case err == nil && s.SchemaVersion > SchemaVersion:
		return nil, &NewerSchemaError{Path: path, Version: s.SchemaVersion}
	case err == nil && s.SchemaVersion < 1:
		err = errors.New("it has no schema version")
	case errors.Is(err, io.EOF):
		err = errors.New("it is empty")
	}
	if err == nil {
		return &s, nil
	}
	if _, ok := errors.AsType[*os.PathError](err); ok {
		return nil, fmt.Errorf("read state file: %w", err)
	}
	return nil, corrupt(path, err)
}

func (s *State) readHead(d *jsontext.Decoder) error {
	fields := map[string]any{
		"schemaVersion": &s.SchemaVersion,
		"revision":      &s.Revision,
		"writtenAt":     &s.WrittenAt,
		"supervisor":    &s.Supervisor,
		"instance":      &s.Instance,
		"engine":        &s.Engine,
		"conditions":    &s.Conditions,
		"lastFailure":   &s.LastFailure,
		"mirror":        &s.Mirror,
	}
	if t, err := d.ReadToken(); err != nil {
		return err
	} else if t.Kind() != '{' {
		return errors.New("not a JSON object")
	}
	for d.PeekKind() != '}' {
		t, err := d.ReadToken()
		if err != nil {
			return err
		}
		name := t.String()
		if name == string(Containers) || s.SchemaVersion > SchemaVersion {
			return nil
		}
		if field, ok := fields[name]; ok {
			err = json.UnmarshalDecode(d, field)
		} else {
			err = d.SkipValue()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// open opens the file; it can be replaced meanwhile.
func open(path string) (*os.File, error) {
	file, err := files.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read state file %q: %w", path, err)
	}
	if info, err := file.Stat(); err == nil && info.IsDir() {
		_ = file.Close()
		return nil, corrupt(path, errors.New("it is a directory"))
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

// StaleMark returns the name, or path, of the empty file that exists beside a state file while
// that can't be written, as on a full disk: its content may be old then.
func StaleMark(path string) string { return path + ".stale" }

// Stale reports whether the last write of the state file at path has failed.
func Stale(path string) bool {
	_, err := os.Lstat(StaleMark(path))
	return err == nil
}

// Package stateschema holds state files against their JSON Schema, in tests.
package stateschema

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// Validate returns an error that says where the content of a state file is not as
// docs/state.schema.json has it. Fields that the schema does not have are an error: what we
// write, it describes.
func Validate(content []byte) error { return validate(strict, content) }

// ValidateAsReader is [Validate] as other programs do it: a later docker rd may write fields
// that they do not know.
func ValidateAsReader(content []byte) error { return validate(published, content) }

func validate(compiled func() (*jsonschema.Schema, error), content []byte) error {
	schema, err := compiled()
	if err != nil {
		return fmt.Errorf("state schema: %w", err)
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(content))
	if err != nil {
		return err
	}
	return schema.Validate(value)
}

var (
	strict    = sync.OnceValues(func() (*jsonschema.Schema, error) { return compile(forbidOthers) })
	published = sync.OnceValues(func() (*jsonschema.Schema, error) { return compile(func(any) {}) })
)

func compile(change func(schema any)) (*jsonschema.Schema, error) {
	// The sources are there: this runs in tests only.
	_, here, _, _ := runtime.Caller(0)
	path := filepath.Join(filepath.Dir(here), "..", "..", "..", "docs", "state.schema.json")
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	schema, err := jsonschema.UnmarshalJSON(file)
	if err != nil {
		return nil, err
	}
	change(schema)
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource(path, schema); err != nil {
		return nil, err
	}
	return c.Compile(path)
}

// forbidOthers forbids all fields that a schema does not name.
func forbidOthers(schema any) {
	switch s := schema.(type) {
	case map[string]any:
		_, other := s["additionalProperties"]
		if _, named := s["properties"].(map[string]any); named && !other {
			s["additionalProperties"] = false
		}
		for _, below := range s {
			forbidOthers(below)
		}
	case []any:
		for _, below := range s {
			forbidOthers(below)
		}
	}
}

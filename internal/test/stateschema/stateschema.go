// Package stateschema holds state files against their JSON Schema, in tests.
package stateschema

import (
	"bytes"
	"fmt"
	"path/filepath"
	"runtime"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// Validate returns an error that tells where the content of a state file is not as
// docs/state.schema.json says.
func Validate(content []byte) error {
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

var compiled = sync.OnceValues(func() (*jsonschema.Schema, error) {
	// The sources are there: this runs in tests only.
	_, here, _, _ := runtime.Caller(0)
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	return c.Compile(filepath.Join(filepath.Dir(here), "..", "..", "..", "docs", "state.schema.json"))
})

package lima

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/docker-rd/docker-rd/instance"
	"github.com/docker-rd/docker-rd/internal/files"
)

// A directory may have any name.
func TestClean(t *testing.T) {
	c := &Config{Instance: &instance.Instance{Paths: instance.Paths{Data: filepath.Join(t.TempDir(), "[home]")}}}
	if err := os.MkdirAll(c.dir(""), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"lima.yaml", "ha.pid", "ha.sock"} {
		if err := os.WriteFile(c.dir(name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.clean(); err != nil || files.Exists(c.dir("ha.pid")) || files.Exists(c.dir("ha.sock")) || !files.Exists(c.dir("lima.yaml")) {
		t.Errorf("after clean: %v, %q", err, c.glob("*"))
	}
}

package realengine_test

import (
	"context"
	"os"
	"testing"

	"github.com/docker-rd/docker-rd/internal/test/realengine"
)

func TestDockerd(t *testing.T) {
	realengine.Need(t)
	dir, err := os.MkdirTemp("", "rd")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	d, err := realengine.StartDockerd(context.Background(), dir)
	if err != nil {
		t.Fatal(err)
	}
	d.Kill("KILL")
	if err := d.Start(context.Background()); err != nil {
		t.Error(err)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}

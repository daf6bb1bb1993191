package realengine_test

import (
	"context"
	"errors"
	"os"
	"testing"

	"github.com/docker-rd/docker-rd/internal/realengine"
)

func TestDockerd(t *testing.T) {
	dir, err := os.MkdirTemp("", "rd")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	d, err := realengine.StartDockerd(context.Background(), dir)
	if errors.Is(err, realengine.ErrUnavailable) {
		t.Skip(err)
	}
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

package client

import (
	"context"
	"os"
	"strings"
	"testing"

	"github.com/docker-rd/docker-rd/instance"
	"github.com/docker-rd/docker-rd/mirror/state"
)

// Outcomes that the mirror is to show wait for its file: where that can't be written, this is why
// nothing comes.
func TestGaveUpUnwritten(t *testing.T) {
	i := &instance.Instance{Name: "x", Paths: instance.Paths{State: t.TempDir()}}
	ctx, cancel := context.WithTimeout(t.Context(), 0)
	defer cancel()
	const why = "its state file can't be written"
	if err := gaveUp(ctx, i, "not done in time"); !Is(err, Unanswered) || strings.Contains(err.Error(), why) {
		t.Errorf("got %v", err)
	}
	if err := os.WriteFile(state.StaleMark(i.Paths.StateFile()), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := gaveUp(ctx, i, "not done in time"); !Is(err, Unanswered) || !strings.Contains(err.Error(), why) {
		t.Errorf("got %v", err)
	}
}

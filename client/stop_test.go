//go:build !windows

package client

import (
	"context"
	"os/exec"
	"testing"
	"time"

	"github.com/docker-rd/docker-rd/internal/process"
)

// A supervisor that dies before it has read that it is to stop leaves no outcome.
func TestStopOfSupervisorThatHasEnded(t *testing.T) {
	i := newInstance(t)
	cmd := exec.Command("sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	id, err := process.FindChild(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := askToStop(ctx, i, id, StopOptions{}); err != nil || ctx.Err() != nil {
		t.Errorf("askToStop = %v, %v", err, ctx.Err())
	}
}

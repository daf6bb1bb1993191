package process

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"
)

// TestMain lets the test binary be its own child: it says that it runs and ends
// when its standard input does.
func TestMain(m *testing.M) {
	if os.Getenv("PROCESS_TEST_CHILD") != "" {
		_, _ = os.Stdout.WriteString("up\n")
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// child starts a process that ends when end is called. It stays a zombie until
// the test ends, as nobody waits for it before.
func child(t *testing.T) (id ID, end func()) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "PROCESS_TEST_CHILD=1")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = in.Close(); _ = cmd.Wait() })
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	id, err = Find(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	return id, func() { _ = in.Close() }
}

func TestSelf(t *testing.T) {
	self, err := Self()
	if err != nil {
		t.Fatal(err)
	}
	if self.PID != os.Getpid() || self.StartTime == 0 || !self.Alive() {
		t.Errorf("Self = %+v, alive %v", self, self.Alive())
	}
	data, err := json.Marshal(self)
	if err != nil {
		t.Fatal(err)
	}
	var back ID
	if err := json.Unmarshal(data, &back); err != nil || back != self {
		t.Errorf("%s reads back as %+v, %v", data, back, err)
	}
}

func TestOthersAreNotAlive(t *testing.T) {
	self, err := Self()
	if err != nil {
		t.Fatal(err)
	}
	reused, rebooted := self, self
	reused.StartTime++
	rebooted.BootID = "00000000-0000-0000-0000-000000000000"
	for name, id := range map[string]ID{"zero": {}, "negative": {PID: -1}, "pid reused": reused, "other boot": rebooted} {
		if id.Alive() {
			t.Errorf("%s: %+v is alive", name, id)
		}
		if err := id.Wait(t.Context()); err != nil {
			t.Errorf("%s: Wait = %v, want nil at once", name, err)
		}
		if err := id.Signal(syscall.SIGTERM); !errors.Is(err, ErrGone) || !errors.Is(err, os.ErrProcessDone) {
			t.Errorf("%s: Signal = %v, want ErrGone", name, err)
		}
	}
}

func TestWait(t *testing.T) {
	id, end := child(t)
	if !id.Alive() {
		t.Fatalf("%+v is not alive", id)
	}
	done := make(chan error, 1)
	go func() { done <- id.Wait(t.Context()) }()
	select {
	case err := <-done:
		t.Fatalf("Wait = %v before the process ended", err)
	case <-time.After(20 * time.Millisecond):
	}
	end()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	// Nobody has waited for it: it is a zombie now, on Unix.
	if id.Alive() {
		t.Error("a zombie counts as alive")
	}
	if _, err := Find(id.PID); !errors.Is(err, ErrGone) {
		t.Errorf("Find of a zombie = %v, want ErrGone", err)
	}
	if again, err := FindChild(id.PID); err != nil || again != id {
		t.Errorf("FindChild of a zombie = %+v, %v, want %+v", again, err, id)
	}
	if err := id.Wait(t.Context()); err != nil {
		t.Errorf("Wait for a zombie = %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := id.Wait(ended); err != nil {
		t.Errorf("Wait with an ended context, after the process = %v", err)
	}
}

func TestWaitIsCancelled(t *testing.T) {
	id, _ := child(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- id.Wait(ctx) }()
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("Wait = %v, want Canceled", err)
	}
	if err := id.Wait(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Wait with an ended context = %v, want Canceled", err)
	}
	if !id.Alive() {
		t.Error("a cancelled wait ended the process")
	}
}

func TestSignal(t *testing.T) {
	id, _ := child(t)
	if err := id.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := id.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := id.Signal(syscall.SIGKILL); !errors.Is(err, ErrGone) {
		t.Errorf("Signal to an ended process = %v, want ErrGone", err)
	}
}

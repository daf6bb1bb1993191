//go:build unix

package containerd

import "testing"

func TestSignals(t *testing.T) {
	for name, want := range map[string]int{"SIGTERM": 15, "quit": 3, "9": 9, "": 15, "nonsense": 15} {
		if got := signalOf(name); got != want {
			t.Errorf("signal %q is %d, want %d", name, got, want)
		}
	}
}

package process

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestParseStat(t *testing.T) {
	const tail = " 1 2 3 0 -1 4194560 0 0 0 0 120 30 0 0 20 0 1 0 4711 0 0 0 0 0 0 0 0 0 0 0\n"
	for _, tc := range []struct {
		name, in string
		want     Stat
	}{
		{"plain", "7 (sh) S" + tail, Stat{"sh", 'S', 1, 4711, 1500 * time.Millisecond, false, false}},
		{"blanks and parentheses", "7 (a) Z (b (c)) R" + tail, Stat{"a) Z (b (c)", 'R', 1, 4711, 1500 * time.Millisecond, false, false}},
		{"newline", "7 (a\nb) D" + tail, Stat{"a\nb", 'D', 1, 4711, 1500 * time.Millisecond, false, false}},
		{"of the kernel", "7 (kswapd0) S" + strings.Replace(tail, "4194560", "2099264", 1), Stat{"kswapd0", 'S', 1, 4711, 1500 * time.Millisecond, true, false}},
		{"killed", "7 (sh) S" + strings.Replace(tail, "0 0 0\n", "256 0 0\n", 1), Stat{"sh", 'S', 1, 4711, 1500 * time.Millisecond, false, true}},
		{"exits", "7 (sh) R" + strings.Replace(tail, "4194560", "4194564", 1), Stat{"sh", 'R', 1, 4711, 1500 * time.Millisecond, false, true}},
		{"empty name", "7 () S" + tail, Stat{"", 'S', 1, 4711, 1500 * time.Millisecond, false, false}},
	} {
		got, err := parseStat([]byte(tc.in))
		if err != nil || got != tc.want {
			t.Errorf("%s: %+v, %v, want %+v", tc.name, got, err, tc.want)
		}
	}
	for _, in := range []string{"", "7", "7 (sh", "7 )sh( S" + tail, "7 (sh) S 1 2", "7 (sh) SS" + tail,
		"7 (sh) S x" + strings.Replace(tail, " 1", "", 1), strings.Replace("7 (sh) S"+tail, "4711", "-1", 1)} {
		if got, err := parseStat([]byte(in)); err == nil {
			t.Errorf("%q: %+v, want an error", in, got)
		}
	}
}

func FuzzParseStat(f *testing.F) {
	self, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(self)
	f.Add([]byte("1 (a) b) Z 0"))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := parseStat(data)
		if err == nil && !strings.Contains(string(data), "("+s.Comm+")") {
			t.Errorf("%q: the name %q is not there", data, s.Comm)
		}
	})
}

func TestGroup(t *testing.T) {
	own, err := Group(0, "")
	if err != nil || !strings.HasPrefix(own, "/") {
		t.Errorf("this process is in %q: %v", own, err)
	}
	if same, err := Group(os.Getpid(), ""); err != nil || same != own {
		t.Errorf("by its pid it is in %q: %v", same, err)
	}
	if group, err := Group(0, "name=none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("in a hierarchy that does not exist it is in %q: %v", group, err)
	}
}

// A supervisor waits for the proxy of each published port.
func TestWaitTakesOneDescriptor(t *testing.T) {
	pidfds := func() (n int) {
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if target, _ := os.Readlink("/proc/self/fd/" + e.Name()); strings.Contains(target, "pidfd") {
				n++
			}
		}
		return n
	}
	self, err := Self()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var waits sync.WaitGroup
	defer waits.Wait()
	defer cancel()
	before := pidfds()
	for n := 1; n <= 3; n++ {
		waits.Go(func() { _ = self.Wait(ctx) })
		for deadline := time.Now().Add(time.Minute); pidfds() != before+n; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%d waits take %d descriptors", n, pidfds()-before)
			}
		}
	}
}

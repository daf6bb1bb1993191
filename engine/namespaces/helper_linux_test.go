package namespaces

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A plan of any length is taken whole: bytes of it that are left would end the report by an error.
func TestLengthsOfPlans(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "missing") + "/"
	plan := func(room int) Plan { return Plan{Remove: dir + strings.Repeat("/", room)} }
	shortest, err := json.Marshal(plan(0))
	if err != nil {
		t.Fatal(err)
	}
	// The lengths at which buffers of encoding/json are full, and those beside.
	for _, length := range []int{511, 512, 513, 1535, 1536, 1537, 5000} {
		h, err := startHelper(helperArgs(initArg), nil, &syscall.SysProcAttr{Setsid: true}, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := h.Run(t.Context(), plan(length-len(shortest))); err != nil {
			t.Errorf("a plan of %d bytes: %v", length, err)
		}
		<-h.Exited
	}
}

package configfile

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
)

// Children of the tests are this test binary, told by its environment what to do.
const (
	envChild  = "CONFIGFILE_TEST_CHILD"  // the file in which to set currentContext to rd
	envWrites = "CONFIGFILE_TEST_WRITES" // "n=content" lines: at the n-th fault point somebody else writes
	envKill   = "CONFIGFILE_TEST_KILL"   // n: die at the n-th fault point
	envLeases = "CONFIGFILE_TEST_LEASES" // "no" does without leases
	envWriter = "CONFIGFILE_TEST_WRITER" // "dir=n=saves": save credentials in dir, as the n-th writer
)

func TestMain(m *testing.M) {
	if path := os.Getenv(envChild); path != "" {
		os.Exit(child(path))
	}
	if told := os.Getenv(envWriter); told != "" {
		os.Exit(writer(told))
	}
	os.Exit(m.Run())
}

func noFault(string) {}

func noLease(*os.File) error { return errors.ErrUnsupported }

// withoutLeases has a test run as where the system has no leases.
func withoutLeases(t *testing.T) {
	was := lease
	lease = noLease
	t.Cleanup(func() { lease = was })
}

// eachWay runs a test with leases, and without.
func eachWay(t *testing.T, test func(t *testing.T)) {
	t.Run("leases", test)
	t.Run("no leases", func(t *testing.T) {
		withoutLeases(t)
		test(t)
	})
}

// child does one Update and prints the fault points that it passes.
func child(path string) int {
	kill, _ := strconv.Atoi(os.Getenv(envKill))
	writes := map[int]string{}
	for line := range strings.SplitSeq(os.Getenv(envWrites), "\n") {
		if at, content, ok := strings.Cut(line, "="); ok {
			n, _ := strconv.Atoi(at)
			writes[n] = content
		}
	}
	n := 0
	fault = func(point string) {
		n++
		fmt.Println(point)
		if content, ok := writes[n]; ok {
			if err := writeAsDocker(path, content); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(2)
			}
		}
		if n == kill {
			self, _ := os.FindProcess(os.Getpid())
			_ = self.Kill()
			select {}
		}
	}
	if os.Getenv(envLeases) == "no" {
		lease = noLease
	}
	_, err := Update(context.Background(), path, to("rd"))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// writeAsDocker replaces the file as docker's Save does: a new file and a rename. It
// never opens the old one, so no lease can hold it up.
func writeAsDocker(path, content string) error {
	temp := path + ".foreign"
	if err := os.WriteFile(temp, []byte(content), 0o600); err != nil {
		return err
	}
	return os.Rename(temp, path)
}

package configfile

import (
	"context"
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
)

func TestMain(m *testing.M) {
	if path := os.Getenv(envChild); path != "" {
		os.Exit(child(path))
	}
	os.Exit(m.Run())
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
	faultHook = func(point string) {
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
	_, err := update(context.Background(), path, os.Getenv(envLeases) != "no", deciding(to("rd")))
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

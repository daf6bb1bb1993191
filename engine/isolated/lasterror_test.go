package isolated

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// As dockerd 20.10 and containerd 1.6 wrote them.
const (
	lineInfo       = `time="2026-11-21T19:48:18.198198781Z" level=info msg="Starting up"` + "\n"
	lineContainerd = `time="2026-11-21T19:48:18.244674288Z" level=error msg="failed to load cni during init, please check CRI plugin status" error="cni config load failed" type=io.containerd.grpc.v1.cri` + "\n"
	lineOOM        = `time="2026-11-21T19:48:18.3Z" level=error msg="add cg to OOM monitor" error="open /sys/fs/cgroup/memory/cgroup.event_control: permission denied"` + "\n"
	lineError      = `time="2026-11-21T19:55:39.785965516Z" level=error msg="Failed to GetDriver graph" driver=nosuch error="graphdriver plugins are only supported with \"experimental\" mode" home-dir=/x` + "\n"
	lineFatal      = `time="2026-11-21T19:55:39.785965516Z" level=fatal msg="failed to start daemon: a \"quoted\" word"` + "\n"
	linePlain      = "failed to start daemon: error initializing graphdriver: driver not supported\n"
	lineEnd        = `time="2026-11-21T19:55:40.8Z" level=error msg="containerd did not exit successfully" error="signal: killed" module=libcontainerd` + "\n"
)

func TestParseLastError(t *testing.T) {
	for _, tc := range []struct{ name, log, want string }{
		{"nothing", "", ""},
		{"no error", lineInfo, ""},
		{"containerd's own", lineInfo + lineContainerd + lineOOM, ""},
		{"error", lineInfo + lineError + lineContainerd, `Failed to GetDriver graph: graphdriver plugins are only supported with "experimental" mode`},
		{"the last error", strings.Replace(lineError, "GetDriver", "x", 1) + lineError, `Failed to GetDriver graph: graphdriver plugins are only supported with "experimental" mode`},
		{"fatal beats error", lineFatal + lineError, `failed to start daemon: a "quoted" word`},
		{"plain beats all", lineError + linePlain + lineEnd, "failed to start daemon: error initializing graphdriver: driver not supported"},
		{"a program's output in it", "failed to start daemon: iptables failed: iptables -N DOCKER: TABLE_ADD failed: table nat\n (exit status 4)\n" + lineEnd + "a later word\n" + linePlain + lineEnd, strings.TrimSpace(linePlain)},
		{"a program's output at its end", linePlain + "failed to start daemon: iptables failed: iptables -N DOCKER: TABLE_ADD failed: table nat\n (exit status 4)\n" + lineEnd,
			"failed to start daemon: iptables failed: iptables -N DOCKER: TABLE_ADD failed: table nat (exit status 4)"},
		{"a wrong flag", "unknown flag: --x\nSee 'dockerd --help'.\n", "unknown flag: --x"},
		{"a wrong flag, newer", "unknown flag: --x\n\nUsage:  dockerd [OPTIONS]\n\nRun 'dockerd --help' for more information\n", "unknown flag: --x"},
		{"a wrong flag, 20.10", "Status: unknown flag: --x\nSee 'dockerd --help'., Code: 125\n", "unknown flag: --x"},
		{"an argument, 20.10", "Status: \"dockerd\" accepts no arguments.\nSee 'dockerd --help'.\n\nUsage:  dockerd [OPTIONS]\n\nA self-sufficient runtime for containers., Code: 125\n",
			`"dockerd" accepts no arguments.`},
		{"an argument, 28", "\nUsage:\tdockerd [OPTIONS]\n\nA self-sufficient runtime for containers.\n\nOptions:\n      --bip string   IPv4 address\n",
			"dockerd prints its help, since it does not take an argument that it was given"},
		{"a wrong flag, 28", "Status: unknown flag: --x\nSee 'dockerd --help'.\n\nUsage:\tdockerd [OPTIONS]\n\nA self-sufficient runtime for containers.\n", "unknown flag: --x"},
		{"a status in one line", "Status: no, Code: 1\n", "no"},
		{"a help before the error", "Usage:  dockerd [OPTIONS]\n\nA runtime.\n" + lineInfo + linePlain, strings.TrimSpace(linePlain)},
		{"a panic", "panic: oops\n\ngoroutine 1 [running]:\nmain.main()\n\t/src/x.go:1 +0x1\n", "panic: oops"},
		{"too few processes", lineInfo + "runtime: failed to create new OS thread (have 8 already; errno=11)\nruntime: may need to increase max user processes (ulimit -u)\nfatal error: newosproc\n\nruntime stack:\n" +
			"runtime.throw(...)\n\truntime/panic.go:1077 +0x5c\n\ngoroutine 1 [running]:\nmain.x()\n\truntime/signal_unix.go:1074 +0xc5\n", "runtime: may need to increase max user processes (ulimit -u)"},
		{"json", `{"time":"x","level":"error","msg":"no","error":"way"}` + "\n", "no: way"},
		{"a full disk", lineInfo + `time="2026" level=info msg="Starfailed to open /x: write /x: no space left on device` + "\n", "no space left on device"},
		{"a full disk, said aloud", "failed to open /x: no space left on device\n", "failed to open /x: no space left on device"},
		{"cut short", `time="2026" level=error msg="half a li`, ""},
	} {
		if got := parseLastError(tc.log); got != tc.want {
			t.Errorf("%s: %q, want %q", tc.name, got, tc.want)
		}
	}
}

func TestLastErrorIn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	if got := lastErrorIn(path, 0); got != "" {
		t.Errorf("no log: %q", got)
	}
	if err := os.WriteFile(path, []byte(linePlain+lineInfo), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, want := lastErrorIn(path, 0), strings.TrimSpace(linePlain); got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got := lastErrorIn(path, int64(len(linePlain))); got != "" {
		t.Errorf("from an offset on: %q, want nothing: that was the engine before", got)
	}
	if got, want := lastErrorIn(path, 1<<20), strings.TrimSpace(linePlain); got != want {
		t.Errorf("a log that was cut since: %q, want %q", got, want)
	}
	long := strings.Repeat(lineInfo, 2*maxLog/len(lineInfo))
	if err := os.WriteFile(path, []byte(linePlain+long+lineFatal), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, want := lastErrorIn(path, 0), `failed to start daemon: a "quoted" word`; got != want {
		t.Errorf("a long log: %q, want %q", got, want)
	}
}

func FuzzParseLastError(f *testing.F) {
	for _, line := range []string{lineInfo, lineContainerd, lineError, lineFatal, linePlain, lineEnd, `{"level":"fatal","msg":"x"}`} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, log string) { parseLastError(log) })
}

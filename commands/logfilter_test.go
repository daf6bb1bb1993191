package commands

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/docker-rd/docker-rd/internal/logfile"
)

func TestLogFilter(t *testing.T) {
	const log = `before any time
time="2026-01-02T03:04:05.5Z" level=info msg="a, time=x"
more of a
time=2026-01-02T03:04:06.000+00:00 level=INFO msg=b
{"level":"info","msg":"c","time":"2026-01-02T04:04:07.000000001+01:00"}`
	at := func(s string) time.Time {
		moment, err := time.Parse(time.RFC3339, s)
		if err != nil {
			t.Fatal(err)
		}
		return moment
	}
	for name, tc := range map[string]struct {
		f    logFilter
		want string // the messages; lines without one as they are
		end  bool
	}{
		"all":   {logFilter{}, log, false},
		"since": {logFilter{since: at("2026-01-02T03:04:06Z")}, strings.Join(strings.Split(log, "\n")[3:], "\n"), false},
		"until": {logFilter{until: at("2026-01-02T03:04:06Z")}, strings.Join(strings.Split(log, "\n")[:4], "\n") + "\n", true},
		"both":  {logFilter{since: at("2026-01-02T03:04:05Z"), until: at("2026-01-02T03:04:05Z")}, "", true},
		"with timestamps": {logFilter{since: at("2026-01-02T03:04:07Z"), timestamps: true},
			`2026-01-02T03:04:07.000000001Z {"level":"info","msg":"c","time":"2026-01-02T04:04:07.000000001+01:00"}`, false},
	} {
		for _, size := range []int{1, 7, 1000} {
			var b strings.Builder
			f := tc.f
			f.w = &b
			lines := logfile.LineWriter{Line: f.line}
			var err error
			for rest := log; rest != "" && err == nil; {
				n := min(size, len(rest))
				_, err = lines.Write([]byte(rest[:n]))
				rest = rest[n:]
			}
			if err == nil {
				err = lines.Flush()
			}
			if b.String() != tc.want || errors.Is(err, errLater) != tc.end || err != nil && !tc.end {
				t.Errorf("%s, by %d: %q, %v, want %q", name, size, b.String(), err, tc.want)
			}
		}
	}
}

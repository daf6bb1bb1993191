package instance

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/shlex"

	"github.com/docker-rd/docker-rd/dockercontext"
	"github.com/docker-rd/docker-rd/internal/failure"
)

// with returns the default settings of an adopted engine, changed.
func with(t *testing.T, pairs ...string) (Settings, error) {
	t.Helper()
	s := DefaultSettings()
	for _, p := range pairs {
		key, value, _ := strings.Cut(p, "=")
		if err := s.Set(key, value); err != nil {
			return s, err
		}
	}
	return s.Resolved()
}

func TestSettings(t *testing.T) {
	cwd, err := filepath.Abs(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name  string
		pairs []string
		key   string
		want  string
	}{
		{"a host means an engine that is there", []string{"host=unix:///x.sock"}, "driver", DriverExisting},
		{"so does a context", []string{"from-context=x"}, "driver", DriverExisting},
		{"a default", []string{"host=unix:///x.sock"}, "resync", "5m0s"},
		{"back to the default", []string{"host=unix:///x.sock", "resync=1h", "resync="}, "resync", "5m0s"},
		{"back to no host", []string{"host=unix:///x.sock", "host=", "from-context=x"}, "host", ""},
		{"TLS off is not TLS unsaid", []string{"host=tcp://x:1", "tlsverify=false"}, "tlsverify", "false"},
		{"arguments", []string{"driver=dockerd", `engine-args=--label 'a b' --debug`}, "engine-args", "--label 'a b' --debug"},
		{"ports", []string{"driver=dockerd", "localhost=5000, 3128,5000"}, "localhost", "5000,3128"},
		{"no ports", []string{"driver=dockerd", "localhost=5000", "localhost="}, "localhost", ""},
		{"paths are absolute", []string{"driver=dockerd", "daemon-config=d.json"}, "daemon-config", filepath.Join(cwd, "d.json")},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s, err := with(t, tc.pairs...)
			if err != nil {
				t.Fatal(err)
			}
			if got := s.Get(tc.key); got != tc.want {
				t.Errorf("%s is %q, want %q", tc.key, got, tc.want)
			}
		})
	}
}

func TestSettingsRefused(t *testing.T) {
	for _, tc := range []struct {
		pairs []string
		want  string
	}{
		{[]string{"colour=blue"}, `unknown setting "colour"`},
		{[]string{"driver=podman"}, `driver "podman"`},
		{[]string{"engine=podman"}, `engine "podman"`},
		{[]string{"engine=containerd", "host=unix:///x"}, `driver "existing" adopts engines of kind "moby" only`},
		{[]string{"engine=containerd", "driver=dockerd", "daemon-config=x"}, `engine "containerd" takes no daemon-config`},
		{[]string{"promote=maybe"}, `promote "maybe"`},
		{[]string{"promote=force"}, `promote "force"`}, // for context promote alone
		{[]string{"promote=IF-BROKEN"}, `promote "IF-BROKEN"`},
		{[]string{"resync=soon"}, `setting resync="soon": not a time such as 30s or 5m`},
		{[]string{"host=unix:///x", "resync=1ms"}, "resync 1ms"},
		{[]string{"tlsverify=perhaps"}, `setting tlsverify="perhaps": it can be true or false`},
		{[]string{`engine-args=--label "`}, "engine-args"},
		{[]string{"driver=existing"}, "needs the engine to adopt"},
		{[]string{"host=unix:///x", "from-context=y"}, `host "unix:///x" and from-context "y" are two engines`},
		{[]string{"from-context=y", "tlsverify=true"}, "TLS settings go with host"},
		{[]string{"host=unix:///x", "engine-args=--debug"}, "takes no engine-args"},
		{[]string{"host=unix:///x", "localhost=5000"}, "takes no localhost"},
		{[]string{"localhost=5000,http"}, `setting localhost="5000,http": "http" is no port`},
		{[]string{"localhost=65536"}, `"65536" is no port`},
		{[]string{"driver=lima", "disk=99999999999999g"}, "more bytes than can be counted"},
		{[]string{"memory=1e30"}, "more bytes than can be counted"},
		{[]string{"driver=dockerd", "host=unix:///x"}, "takes no host"},
		{[]string{"host=x"}, `host "x"`},
	} {
		_, err := with(t, tc.pairs...)
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%q: %v, want %q in it", tc.pairs, err, tc.want)
		}
		if failure.Code(err) != failure.CodeRefused {
			t.Errorf("%q: exit status %d, want %d", tc.pairs, failure.Code(err), failure.CodeRefused)
		}
	}
}

func TestSettingsDiff(t *testing.T) {
	a, err := with(t, "host=unix:///x")
	if err != nil {
		t.Fatal(err)
	}
	b := a
	b.EngineArgs = []string{}
	if !a.Equal(b) || len(a.Diff(b)) > 0 {
		t.Errorf("no arguments and none at all differ: %q", a.Diff(b))
	}
	b.EngineArgs, b.Resync = []string{"a b"}, Duration(time.Hour)
	if got, want := a.Diff(b), []string{"engine-args='a b'", "resync=1h0m0s"}; a.Equal(b) || !slices.Equal(got, want) {
		t.Errorf("Diff = %q, want %q", got, want)
	}
}

// A running machine keeps its size, so that waits for a restart; limits of a dockerd hold at once.
func TestSettingsTakeLive(t *testing.T) {
	other := Settings{Memory: 2 << 30, Autostart: true}
	for driver, want := range map[string]int64{DriverLima: 1 << 30, DriverDockerd: 2 << 30} {
		s := Settings{Driver: driver, Memory: 1 << 30}
		s.TakeLive(other)
		if s.Memory != want || !s.Autostart {
			t.Errorf("%s: memory %d, autostart %v, want %d and true", driver, s.Memory, s.Autostart, want)
		}
	}
}

// What a setting is printed as can be set again.
func TestSettingsRoundTrip(t *testing.T) {
	s := Settings{
		Driver: DriverExisting, Engine: KindMoby, Promote: dockercontext.PromoteNever, Host: "tcp://x:1", FromContext: "c",
		TLSCACert: "/ca", TLSCert: "/cert", TLSKey: "/key", TLSVerify: new(bool),
		DaemonConfig: "/d.json", EnginePath: "/opt/28", EngineArgs: []string{"--label", "it's \"it\"", ""}, Localhost: []uint16{5000, 3128}, Resync: Duration(time.Minute),
		Autostart: true, Memory: 1536 << 20, NanoCPUs: 1_500_000_000, PidsLimit: 100, Disk: 60 << 30, Template: "/t.yaml",
	}
	again := DefaultSettings()
	for _, key := range SettingNames() {
		if s.Get(key) == "" {
			t.Errorf("the test says nothing of %s", key)
		}
		if err := again.Set(key, s.Get(key)); err != nil {
			t.Errorf("%s: %v", key, err)
		}
	}
	if !again.Equal(s) {
		t.Errorf("%+v, want %+v", again, s)
	}
}

func FuzzJoinArgs(f *testing.F) {
	for _, s := range []string{"", "a", "a\x00b c", "it's\x00\"", "#\x00\\", "a\nb\tc", "é\x00'"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		args := strings.Split(strings.ToValidUTF8(s, ""), "\x00")
		got, err := shlex.Split(joinArgs(args))
		if err != nil || !slices.Equal(got, args) {
			t.Errorf("%q becomes %q and then %q, %v", args, joinArgs(args), got, err)
		}
	})
}

//go:build !windows

package dockercontext

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/docker/cli/cli/command"
	"github.com/docker/cli/cli/context/docker"
	"github.com/docker/cli/cli/context/store"

	"github.com/docker-rd/docker-rd/internal/endpoint"
	"github.com/docker-rd/docker-rd/internal/test/endpointtest"
	"github.com/docker-rd/docker-rd/mirror/state"
)

// A case of the doctor: what is wrong, what is found, and how it is after the fix.
func TestDoctor(t *testing.T) {
	running := OwnerInfo{Owner: rd, State: Up}
	at := running
	at.Endpoint = endpoint.Endpoint{Host: "unix:///engine.sock"}
	for _, tc := range []struct {
		name      string
		env       map[string]string
		prepare   func(f *fixture)
		instances []OwnerInfo
		want      []string // code and subject; a subject that is a path ends with "…"
		fixable   bool
		after     func(f *fixture) // checks, after the fixes
	}{
		{
			name:    "nothing",
			prepare: func(f *fixture) { f.healthyContext("good"); f.own(rd); f.use("good") }, instances: []OwnerInfo{running},
		}, {
			name:    "empty configuration",
			prepare: func(f *fixture) {},
		}, {
			name:    "dangling",
			prepare: func(f *fixture) { f.use("gone") },
			want:    []string{"CurrentContextMissing gone"}, fixable: true,
			after: func(f *fixture) {
				f.wantCurrent("")
				data, err := os.ReadFile(f.file())
				if err != nil || !strings.Contains(string(data), "detachKeys") {
					f.t.Errorf("the rest of the configuration: %s (%v)", data, err)
				}
			},
		}, {
			name: "ours, written back",
			prepare: func(f *fixture) {
				f.healthyContext("good")
				f.own(rd)
				f.use("good")
				f.promoted(rd)
				f.Demote(f.t.Context(), rd)
				f.Remove(f.t.Context(), rd)
				f.use("rd")
			},
			want: []string{"CurrentContextMissing rd"}, fixable: true,
			after: func(f *fixture) { f.wantCurrent("good") },
		}, {
			name:      "engine gone",
			prepare:   func(f *fixture) { f.healthyContext("good"); f.own(rd); f.use("good"); f.promoted(rd) },
			instances: []OwnerInfo{{Owner: rd, State: Gone}},
			want:      []string{"EngineGone rd"}, fixable: true,
			after: func(f *fixture) { f.wantCurrent("good") },
		}, {
			name: "engine and instance gone, and no record of it",
			prepare: func(f *fixture) {
				f.Create(f.t.Context(), rd, endpoint.Endpoint{Host: "unix:///nonexistent/s"}, "")
				f.use("rd")
			},
			want: []string{"EngineGone rd", "ContextWithoutInstance rd"}, fixable: true,
			after: func(f *fixture) {
				f.wantCurrent("")
				if f.exists("rd") {
					f.t.Error("the context is still there")
				}
			},
		}, {
			name: "engine gone, chosen by the user",
			prepare: func(f *fixture) {
				f.Create(f.t.Context(), rd, endpoint.Endpoint{Host: "unix:///nonexistent/s"}, "")
				f.use("rd")
			},
			instances: []OwnerInfo{{Owner: rd, State: Gone}},
			want:      []string{"EngineGone rd"},
		}, {
			name:    "instance gone, but an engine answers",
			prepare: func(f *fixture) { f.own(rd); f.use("rd") },
			want:    []string{"ContextWithoutInstance rd"},
		}, {
			name:      "instance can't be read",
			prepare:   func(f *fixture) { f.own(rd); f.promoted(rd) },
			instances: []OwnerInfo{{Owner: Owner{Context: "rd"}}},
		}, {
			name:    "corrupt metadata",
			prepare: func(f *fixture) { f.putRaw("rd", "{"); f.putRaw("zz", strings.Repeat("\x00", 9)) },
			want:    []string{"MetadataCorrupt rd", "MetadataCorrupt meta.json…"}, fixable: true,
			after: func(f *fixture) {
				if _, err := f.store.List(); err != nil {
					f.t.Errorf("docker context ls still fails: %v", err)
				}
			},
		}, {
			name: "Description is no string",
			prepare: func(f *fixture) {
				f.putRaw("odd", `{"Name":"odd","Metadata":{"Description":1},"Endpoints":{"docker":{"Host":"unix:///s"}}}`)
			},
			want: []string{"MetadataCorrupt odd"},
		}, {
			name: "an endpoint's field has another type",
			prepare: func(f *fixture) {
				f.putRaw("a", `{"Name":"a","Metadata":{},"Endpoints":{"docker":{"Host":5}}}`)
				f.putRaw("b", `{"Name":"b","Metadata":{},"Endpoints":{"docker":{"Host":"unix:///s","SkipTLSVerify":"no"}}}`)
				f.putRaw("c", `{"Name":"c","Metadata":{},"Endpoints":{"docker":{"Host":"unix:///s"},"other":{"Host":5}}}`)
			},
			want: []string{"MetadataCorrupt a", "MetadataCorrupt b"},
		}, {
			name: "DOCKER_HOST shadows", env: map[string]string{"DOCKER_HOST": "tcp://h:1", "DOCKER_CONTEXT": "x"},
			prepare: func(f *fixture) { f.healthyContext("good"); f.use("good") },
			want:    []string{"EnvOverride DOCKER_HOST"},
		}, {
			name: "DOCKER_CONTEXT shadows", env: map[string]string{"DOCKER_CONTEXT": "x"},
			prepare: func(f *fixture) { f.own(rd) }, instances: []OwnerInfo{running},
			want: []string{"EnvOverride DOCKER_CONTEXT"},
		}, {
			name: "DOCKER_HOST alone is a choice", env: map[string]string{"DOCKER_HOST": "tcp://h:1"},
			prepare: func(f *fixture) {},
		}, {
			name:    "invalid configuration",
			prepare: func(f *fixture) { f.write(f.file(), "{\n \"auths\": {},,\n}") },
			want:    []string{"ConfigInvalid config.json…"},
		}, {
			name: "hard link",
			prepare: func(f *fixture) {
				f.use("")
				if err := os.Link(f.file(), f.file()+".link"); err != nil {
					f.t.Fatal(err)
				}
			},
			want: []string{"ConfigNotEditable config.json…"},
		}, {
			name:    "duplicate key",
			prepare: func(f *fixture) { f.write(f.file(), `{"currentContext":"","CurrentContext":""}`) },
			want:    []string{"ConfigDuplicateKey config.json…"},
		}, {
			name: "credential helper",
			prepare: func(f *fixture) {
				f.write(f.file(), `{"credsStore":"none-such","credHelpers":{"r.example":"neither"}}`)
			},
			want: []string{"CredentialHelperMissing neither", "CredentialHelperMissing none-such"},
		}, {
			name: "context without instance",
			prepare: func(f *fixture) {
				f.Create(f.t.Context(), rd, endpoint.Endpoint{Host: "unix:///nonexistent/s"}, "")
				f.Create(f.t.Context(), rdB, endpoint.Endpoint{Host: "unix://" + endpointtest.Unix(f.t, endpointtest.Handler())}, "")
			},
			instances: []OwnerInfo{{Owner: rdB}},
			want:      []string{"ContextWithoutInstance rd"}, fixable: true,
			after: func(f *fixture) {
				if f.exists("rd") || !f.exists("rd-b") {
					f.t.Error("the wrong context is gone")
				}
			},
		}, {
			name:    "its engine still answers",
			prepare: func(f *fixture) { f.own(rd) },
			want:    []string{"ContextWithoutInstance rd"},
		}, {
			name:    "instance without context",
			prepare: func(f *fixture) {}, instances: []OwnerInfo{at, {Owner: rdB}},
			want: []string{"InstanceWithoutContext rd"}, fixable: true,
			after: func(f *fixture) { f.wantOutcome(f.Ready(rd, endpoint.Endpoint{}), state.ReasonCreated, false) },
		}, {
			name:    "context that was changed",
			prepare: func(f *fixture) { f.own(rd) }, instances: []OwnerInfo{at},
			want: []string{"InstanceWithoutContext rd"}, fixable: true,
			after: func(f *fixture) {
				if e, err := f.Endpoint("rd"); err != nil || e.Host != at.Endpoint.Host {
					f.t.Errorf("the context leads to %q, %v", e.Host, err)
				}
			},
		}, {
			name:    "foreign context",
			prepare: func(f *fixture) { f.healthyContext("rd") }, instances: []OwnerInfo{running},
			want: []string{"ForeignContext rd"},
		}, {
			name:    "invalid record",
			prepare: func(f *fixture) { f.write(f.o.RecordFile, "nonsense") },
			want:    []string{"RecordInvalid record.json…"}, fixable: true,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := setup(t).with(tc.env)
			tc.prepare(f)
			before := f.tree()
			f.all = tc.instances
			if f.all == nil {
				f.all = []OwnerInfo{}
			}
			found := f.doctor()
			if after := f.tree(); after != before {
				t.Errorf("looking changed something:\n%s%s", before, after)
			}
			var got []string
			for _, x := range found {
				subject := x.Subject
				if filepath.IsAbs(subject) {
					subject = filepath.Base(subject) + "…"
				}
				got = append(got, x.Code+" "+subject)
				if x.Fixable != tc.fixable {
					t.Errorf("%s %s: fixable %v, want %v", x.Code, x.Subject, x.Fixable, tc.fixable)
				}
				for _, text := range []string{x.Message, x.Remedy} {
					if !strings.HasSuffix(text, ".") {
						t.Errorf("%s: %q is no sentence", x.Code, text)
					}
				}
			}
			if !slices.Equal(got, tc.want) {
				t.Fatalf("found %q, want %q", got, tc.want)
			}
			for _, x := range found {
				path := f.changedBy(x)
				was, _ := os.ReadFile(path)
				if x.Code == findingContextWithoutInstance {
					was = nil // see TestFixOrphan
				}
				fixed, err := x.Fix(t.Context())
				if (err == nil) != tc.fixable {
					t.Errorf("Fix(%s): %+v, %v", x.Code, fixed, err)
				}
				if fixed.Backup != "" && was != nil {
					if copied, err := os.ReadFile(fixed.Backup); err != nil || string(copied) != string(was) {
						t.Errorf("the copy holds %q (%v), want %q", copied, err, was)
					}
				} else if tc.fixable && path != "" && fixed.Backup == "" {
					t.Errorf("%s: no copy", x.Code)
				}
			}
			if !tc.fixable {
				if after := f.tree(); after != before {
					t.Errorf("what can't be fixed was changed:\n%s%s", before, after)
				}
				return
			}
			if again := f.doctor(); len(again) > 0 {
				t.Errorf("after the fix: %+v", again)
			}
			if tc.after != nil {
				tc.after(f)
			}
		})
	}
}

// doctor is Doctor.
func (f *fixture) doctor() []Finding {
	f.t.Helper()
	found, err := f.Doctor(f.t.Context())
	if err != nil {
		f.t.Fatal(err)
	}
	return found
}

// changedBy returns the file that the fix of a finding changes and copies first, or "".
func (f *fixture) changedBy(x Finding) string {
	switch x.Code {
	case findingCurrentContextMissing, findingEngineGone:
		return f.file()
	case findingMetadataCorrupt:
		if !filepath.IsAbs(x.Subject) {
			return filepath.Join(f.o.Dir, "contexts", "meta", f.contextID(x.Subject), "meta.json")
		}
		return x.Subject
	case findingRecordInvalid:
		return f.o.RecordFile
	}
	return ""
}

// What this user can't read is told as such, once, and nothing is concluded from it.
func TestDoctorUnreadable(t *testing.T) {
	for _, tc := range []struct {
		name string
		path func(f *fixture) string
		want string // the finding's subject
	}{
		{"config.json", func(f *fixture) string { return f.file() }, "config.json"},
		{"metadata", func(f *fixture) string { return f.store.GetStorageInfo("good").MetadataPath + "/meta.json" }, "meta.json"},
		{"a context", func(f *fixture) string { return f.store.GetStorageInfo("good").MetadataPath }, "meta.json"},
		{"all contexts", func(f *fixture) string { return f.o.Dir + "/contexts/meta" }, "contexts"},
		{"record", func(f *fixture) string { return f.o.RecordFile }, "record.json"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := setup(t)
			f.healthyContext("good")
			f.use("good")
			f.write(f.o.RecordFile, `{"schemaVersion":1}`)
			f.mode(filepath.Dir(f.o.Dir), 0o755)
			f.mode(f.o.Dir, 0o755)
			f.mode(f.file(), 0o644)
			f.mode(f.o.RecordFile, 0o644)
			f.mode(f.store.GetStorageInfo("good").MetadataPath+"/meta.json", 0o644)
			f.mode(tc.path(f), 0)
			for _, path := range []string{f.o.Dir, f.file()} {
				if err := os.Chown(path, ordinary(), -1); err != nil {
					t.Fatal(err)
				}
			}
			var found []Finding
			f.runOrdinary(&found, job{Do: "doctor"})
			if len(found) != 1 || found[0].Code != findingUnreadable || filepath.Base(found[0].Subject) != tc.want || found[0].Fixable {
				t.Errorf("Doctor = %+v, want %s %s", found, findingUnreadable, tc.want)
			}
		})
	}
}

// What is removed can be brought back, with its keys.
func TestFixOrphan(t *testing.T) {
	f := setup(t)
	ca := endpointtest.NewAuthority(t)
	pair := ca.Issue(t, time.Now().Add(time.Hour))
	e := endpoint.Endpoint{
		Host: "tcp://" + endpointtest.ClosedPort(t, "127.0.0.1"),
		TLS:  &endpoint.TLS{CA: ca.PEM, Cert: pair.Cert, Key: pair.Key},
	}
	f.wantOutcome(f.Create(t.Context(), rd, e, "keys"), state.ReasonCreated, true)
	found := f.doctor()
	if len(found) != 1 {
		t.Fatalf("Doctor = %+v", found)
	}
	fixed, err := found[0].Fix(t.Context())
	if err != nil || f.exists("rd") {
		t.Fatalf("Fix = %+v, %v", fixed, err)
	}
	if info, err := os.Stat(fixed.Backup); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the copy is %v (%v), and holds a key", info.Mode(), err)
	}
	if entries, err := f.list(); err != nil || len(entries) != 0 {
		t.Errorf("List = %+v, %v", entries, err)
	}
	f.docker("context", "import", "back", fixed.Backup)
	if got, err := f.Endpoint("back"); err != nil || got.Host != e.Host || !bytes.Equal(got.TLS.Key, pair.Key) {
		t.Errorf("brought back is %q (%v)", got.Host, err)
	}
}

// A name that is none could lead out of the directory.
func TestFixOrphanWithOddName(t *testing.T) {
	f := setup(t)
	for _, name := range []string{"../../x", "/x", "a b", "default", ""} {
		data, err := json.Marshal(map[string]any{
			"Name": name, "Metadata": map[string]any{markKey: map[string]string{"uid": "u", "context": name}},
			"Endpoints": map[string]any{"docker": map[string]string{"Host": "unix:///nonexistent/s"}},
		})
		if err != nil {
			t.Fatal(err)
		}
		f.putRaw(name, string(data))
	}
	before := f.tree()
	for _, x := range f.doctor() {
		if x.Fixable {
			t.Errorf("%s %q can be fixed", x.Code, x.Subject)
		}
	}
	if after := f.tree(); after != before {
		t.Errorf("before:\n%safter:\n%s", before, after)
	}
}

// The place of an error in config.json is told.
func TestDoctorTellsThePlace(t *testing.T) {
	f := setup(t)
	f.write(f.file(), "{\n \"auths\": {},,\n}")
	found := f.doctor()
	if len(found) != 1 || !strings.Contains(found[0].Message, ":2:") {
		t.Errorf("Doctor = %+v", found)
	}
}

// What the doctor says of a context that has another's name must hold: docker lists it.
func TestDoctorTellsOfAnothersName(t *testing.T) {
	f := setup(t)
	f.putRaw("here", `{"Name":"there","Metadata":{},"Endpoints":{"docker":{"Host":"unix:///s"}}}`)
	found := f.doctor()
	if len(found) != 1 || found[0].Code != findingMetadataCorrupt || strings.Contains(found[0].Message, "docker context ls fails") ||
		!strings.Contains(found[0].Message, `"there"`) {
		t.Errorf("found %+v", found)
	}
	if _, err := f.store.List(); err != nil {
		t.Errorf("docker context ls fails: %v", err)
	}
}

// What has been put right meanwhile is left as it is.
func TestFixLooksAgain(t *testing.T) {
	f := setup(t)
	f.use("gone")
	f.putRaw("rd", "{")
	f.write(f.o.RecordFile, "nonsense")
	found := f.doctor()
	if len(found) != 3 {
		t.Fatalf("Doctor = %+v", found)
	}
	f.healthyContext("gone")
	f.healthyContext("rd")
	f.write(f.o.RecordFile, `{"schemaVersion":1}`)
	before := f.tree()
	for _, x := range found {
		if fixed, err := x.Fix(t.Context()); err != nil || fixed.Backup != "" {
			t.Errorf("Fix(%s) = %+v, %v", x.Code, fixed, err)
		}
	}
	if after := strings.ReplaceAll(f.tree(), f.o.LockFile, ""); len(strings.Fields(after)) > len(strings.Fields(before))+3 {
		t.Errorf("before:\n%safter:\n%s", before, after)
	}
	f.wantCurrent("gone")
}

// What we call sound, docker can decode.
func FuzzMetadata(f *testing.F) {
	for _, s := range []string{
		`{"Name":"x","Metadata":{"Description":"d"},"Endpoints":{"docker":{"Host":"unix:///s"}}}`,
		`{"Name":"x","metadata":{"Description":7}}`, `{"Metadata":null}`, `{"Metadata":[]}`, `{}`, ``, "\x00", `{"Endpoints":{"docker":7}}`,
		`{"Metadata":{"Description":null}}`, `{"Endpoints":{"docker":{"Host":7}}}`, `{"Endpoints":{"docker":{"SkipTLSVerify":7}}}`,
	} {
		f.Add(s)
	}
	config := store.NewConfig(func() any { return &command.DockerContext{} },
		store.EndpointTypeGetter(docker.DockerEndpoint, func() any { return &docker.EndpointMeta{} }))
	f.Fuzz(func(t *testing.T, data string) {
		name, err := checkMetadata([]byte(data))
		if err != nil {
			return
		}
		s := store.New(t.TempDir(), config)
		path := s.GetStorageInfo(name).MetadataPath
		if err := os.MkdirAll(path, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(path, "meta.json"), []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
		if m, err := s.GetMetadata(name); err != nil || m.Name != name {
			t.Errorf("docker reads %q as %+v, %v", data, m, err)
		}
	})
}

// A record that can be read is written back as it was meant.
func FuzzRecord(f *testing.F) {
	for _, s := range []string{
		`{"schemaVersion":1,"previous":"a","promoted":[{"uid":"u","context":"rd"}],"demoted":[]}`,
		`{"schemaVersion":2}`, `{"schemaVersion":1}`, ``, `[]`, `{"schemaVersion":1,"previous":"\ud800"}`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, data string) {
		dir := t.TempDir()
		c := Open(Options{Dir: dir, RecordFile: filepath.Join(dir, "r"), LockFile: filepath.Join(dir, "l")})
		if err := os.WriteFile(c.o.RecordFile, []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
		r, err := c.readRecord()
		if err != nil {
			return
		}
		if _, err := c.update(t.Context(), func(t *tx) (Outcome, error) { return Outcome{}, t.save(r) }); err != nil {
			t.Fatal(err)
		}
		again, err := c.readRecord()
		if err != nil {
			t.Fatal(err)
		}
		if again.Previous != r.Previous || !slices.Equal(again.Promoted, r.Promoted) || !slices.Equal(again.Demoted, r.Demoted) {
			t.Errorf("%q: %+v became %+v", data, r, again)
		}
	})
}

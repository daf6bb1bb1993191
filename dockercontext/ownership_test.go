//go:build !windows

package dockercontext

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/docker-rd/docker-rd/internal/endpoint"
	"github.com/docker-rd/docker-rd/internal/test/endpointtest"
	"github.com/docker-rd/docker-rd/mirror/state"
)

// Somebody makes a context of his own by the name of ours, after ours was promoted and its
// supervisor killed, and uses it: it is his choice, whatever any record says of the name.
func TestNameIsNotOwnership(t *testing.T) {
	for name, do := range map[string]func(f *fixture){
		"repair":  func(f *fixture) { f.wantOutcome(f.repairWhile(Gone), state.ReasonChangedByUser, false) },
		"demote":  func(f *fixture) { f.wantOutcome(f.Demote(f.t.Context(), rd), state.ReasonNotApplicable, false) },
		"remove":  func(f *fixture) { f.wantOutcome(f.Remove(f.t.Context(), rd), state.ReasonForeign, false) },
		"promote": func(f *fixture) { f.promote(rd, PromoteOptions{Policy: PromoteAlways}) },
		"doctor": func(f *fixture) {
			f.all = []OwnerInfo{{Owner: rd, State: Gone}, {Owner: rdB, State: Up}}
			for _, x := range f.doctor() {
				f.t.Errorf("found %+v", x)
			}
		},
		"another of ours follows": func(f *fixture) {
			f.promoted(rdB)
			f.wantOutcome(f.Demote(f.t.Context(), rdB), state.ReasonDemoted, true)
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := setup(t)
			f.healthyContext("good")
			f.own(rd)
			f.own(rdB)
			f.use("good")
			f.promoted(rd)
			if err := f.store.Remove("rd"); err != nil {
				t.Fatal(err)
			}
			f.healthyContext("rd")
			f.use("rd")
			do(f)
			f.wantCurrent("rd")
			if out := f.Promoted(t.Context(), rd); out.Reason != state.ReasonChangedByUser {
				t.Errorf("Promoted = %+v", out)
			}
			f.wantPromoted()

			// Nor does the record come to life again with the context.
			if err := f.store.Remove("rd"); err != nil {
				t.Fatal(err)
			}
			f.own(rd)
			f.wantOutcome(f.Demote(t.Context(), rd), state.ReasonAlreadyCurrent, false)
			f.wantCurrent("rd")
		})
	}
}

// A context that vanished is nobody else's: its name must not stay the current one.
func TestVanishedContextIsReplaced(t *testing.T) {
	f := setup(t)
	f.healthyContext("good")
	f.own(rd)
	f.use("good")
	f.promoted(rd)
	if err := f.store.Remove("rd"); err != nil {
		t.Fatal(err)
	}
	f.wantOutcome(f.Repair(t.Context()), state.ReasonDemoted, true)
	f.wantCurrent("good")
}

// Two docker rd with homes of their own over one Docker configuration, as sudo makes them:
// in whatever order they stop, what was current before both comes back.
func TestTwoHomes(t *testing.T) {
	for _, aFirst := range []bool{false, true} {
		a := setup(t)
		o := a.o
		o.RecordFile, o.LockFile = o.RecordFile+"-b", o.LockFile+"-b"
		b := &fixture{t: t, o: o, instances: &instances{}}
		b.o.Owners = b.instances
		b.Config = Open(b.o)
		a.state = func(o Owner) EngineState { return map[bool]EngineState{true: Up, false: NoInstance}[o == rd] }
		b.state = func(o Owner) EngineState { return map[bool]EngineState{true: Up, false: NoInstance}[o == rdB] }

		a.healthyContext("good")
		a.use("good")
		a.own(rd)
		a.promoted(rd)
		b.own(rdB)
		b.promoted(rdB)
		a.wantOutcome(a.Repair(t.Context()), state.ReasonNotApplicable, false) // as its supervisor does
		stop := func(f *fixture, o Owner) {
			f.Demote(t.Context(), o)
			f.wantOutcome(f.Remove(t.Context(), o), state.ReasonRemoved, true)
			if out := a.Repair(t.Context()); out.Err != nil {
				t.Error(out.Err)
			}
		}
		if aFirst {
			stop(a, rd)
			a.wantCurrent("rd-b")
			stop(b, rdB)
			a.wantCurrent("good") // what was before b is gone; this was before that
		} else {
			stop(b, rdB)
			a.wantCurrent("rd")
			stop(a, rd)
			a.wantCurrent("good")
		}
	}
}

// What was current is put back in the very words of the file.
func TestUnsetIsPutBackAsItWas(t *testing.T) {
	for _, text := range []string{`{"currentContext": null, "x": 1}`, `{"x": 1, "currentContext":""}`, `{"x": 1}`} {
		f := setup(t)
		f.own(rd)
		f.write(f.file(), text)
		f.promoted(rd)
		f.wantCurrent("rd")
		f.wantOutcome(f.Demote(t.Context(), rd), state.ReasonDemoted, true)
		if got, err := os.ReadFile(f.file()); err != nil || string(got) != text {
			t.Errorf("%s became %s (%v)", text, got, err)
		}
	}
}

// Where there is no context, whether config.json can be read does not matter.
func TestNothingToDemoteInUnreadableConfig(t *testing.T) {
	f := setup(t)
	f.write(f.file(), "{")
	f.wantOutcome(f.Demote(t.Context(), rd), state.ReasonNotApplicable, false)
	f.wantOutcome(f.Remove(t.Context(), rd), state.ReasonRemoved, false)
	f.own(rd)
	f.wantOutcome(f.Demote(t.Context(), rd), state.ReasonFailed, false)
	f.wantOutcome(f.Remove(t.Context(), rd), state.ReasonFailed, false)
}

// The metadata of a context may give it no name.
func TestNamelessContext(t *testing.T) {
	f := setup(t)
	path := f.putRaw("", `{"Name":"","Metadata":{},"Endpoints":{"docker":{"Host":"unix:///s"}}}`)
	f.putRaw("x", `{"Metadata":{},"Endpoints":{"docker":{"Host":"unix:///s"}}}`)
	reports := f.Probe(t.Context())
	for _, r := range reports[1:] {
		if r.Reason != probeMetadataUnreadable || strings.Contains(r.Message, "%!") || !strings.HasSuffix(r.Message, "no name.") {
			t.Errorf("Probe = %+v", r)
		}
	}
	found := f.doctor()
	if len(reports) != 3 || len(found) != 2 || found[0].Subject != path && found[1].Subject != path {
		t.Errorf("%d reports; found %+v", len(reports), found)
	}
}

// An engine that its owner restarts is away for a moment: its context is put back.
func TestGiveBack(t *testing.T) {
	f := setup(t)
	f.own(rd)
	f.brokenContext("mine")
	f.use("mine")
	if out := f.promote(rd, PromoteOptions{Policy: PromoteIfBroken}); out.Reason != state.ReasonPromoted {
		t.Fatalf("%+v", out)
	}
	f.wantOutcome(f.Claim(t.Context(), rd, endpointtest.Unix(t, endpointtest.Handler()), PromoteIfBroken, nil), state.ReasonClaimed, true)
	done := make(chan bool, 1)
	go func() { done <- f.AnswersAgain(t.Context(), "mine") }()
	endpointtest.UnixAt(t, filepath.Join(f.o.Dir, "gone.sock"), endpointtest.Handler())
	if !<-done {
		t.Error("it does not answer again")
	}
	f.wantOutcome(f.GiveBack(t.Context(), rd, "mine"), state.ReasonCurrentHealthy, true)
	f.wantSocket(false)
	f.wantCurrent("mine")
	f.wantPromoted()

	// A choice meanwhile is not undone.
	f.promoted(rd)
	f.healthyContext("other")
	f.use("other")
	f.wantOutcome(f.GiveBack(t.Context(), rd, "mine"), state.ReasonNotApplicable, false)
	f.wantCurrent("other")
}

// It is not put back where somebody has asked for the other one since, whatever it replaced.
func TestGiveBackNotAfterForce(t *testing.T) {
	for name, demoted := range map[string]bool{"as it is current": false, "after its demotion": true} {
		f := setup(t)
		f.own(rd)
		f.brokenContext("mine")
		f.use("mine")
		if out := f.promote(rd, PromoteOptions{Policy: PromoteIfBroken}); out.Reason != state.ReasonPromoted {
			t.Fatalf("%s: %+v", name, out)
		}
		if demoted {
			f.wantOutcome(f.Demote(t.Context(), rd), state.ReasonDemoted, true)
		}
		if out := f.promote(rd, PromoteOptions{Policy: PromoteAlways}); !out.IsCurrent() {
			t.Fatalf("%s: %+v", name, out)
		}
		f.wantOutcome(f.GiveBack(t.Context(), rd, "mine"), state.ReasonNotApplicable, false)
		f.wantCurrent("rd")
		f.wantOutcome(f.Demote(t.Context(), rd), state.ReasonDemoted, true)
		f.wantCurrent("mine")
	}
}

// Root does not make an engine current for a user who may not open its socket.
func TestSudo(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root works on another user's configuration")
	}
	const nobody = 65534
	dir := endpointtest.Dir(t)
	f := setupAt(t, dir, nil)
	for _, path := range []string{f.o.Dir, dir} {
		if err := os.Chmod(path, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	private := filepath.Join(dir, "private")
	if err := os.Mkdir(private, 0o700); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(private, "s")
	endpointtest.UnixAt(t, socket, endpointtest.Handler())
	f.use("gone")
	for _, path := range []string{f.o.Dir, f.file()} {
		if err := os.Chown(path, nobody, nobody); err != nil {
			t.Fatal(err)
		}
	}
	if out := f.Create(t.Context(), rd, endpoint.Endpoint{Host: "unix://" + socket}, ""); out.Reason != state.ReasonCreated {
		t.Fatalf("%+v", out)
	}
	for _, policy := range []Policy{PromoteIfBroken, PromoteAlways, PromoteAlways} {
		out := f.promote(rd, PromoteOptions{Policy: policy})
		f.wantOutcome(out, state.ReasonNotPermitted, false)
		if !strings.Contains(out.Message, "only root") || !strings.Contains(out.Message, "nobody") {
			t.Errorf("%q does not say who can use it", out.Message)
		}
		f.wantCurrent("gone")
	}
	if err := os.Chmod(private, 0o711); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(socket, 0o666); err != nil {
		t.Fatal(err)
	}
	f.wantOutcome(f.promote(rd, PromoteOptions{Policy: PromoteIfBroken}), state.ReasonPromoted, true)
}

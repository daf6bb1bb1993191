//go:build !windows

package dockercontext

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/docker-rd/docker-rd/internal/endpoint"
	"github.com/docker-rd/docker-rd/internal/test/endpointtest"
	"github.com/docker-rd/docker-rd/lock"
	"github.com/docker-rd/docker-rd/mirror/state"
)

func (f *fixture) promote(owner Owner, o PromoteOptions) Outcome {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), long)
	defer cancel()
	return f.Promote(ctx, f.Judge(ctx, owner, o.Policy), owner, o)
}

// promoted makes owner's context current by our doing.
func (f *fixture) promoted(owner Owner) {
	f.t.Helper()
	if out := f.promote(owner, PromoteOptions{Policy: PromoteAlways}); out.Reason != state.ReasonPromoted {
		f.t.Fatalf("Promote(%v) = %+v", owner, out)
	}
}

func (f *fixture) wantOutcome(out Outcome, reason state.Reason, changed bool) {
	f.t.Helper()
	if out.Reason != reason || out.Changed != changed {
		f.t.Errorf("outcome %s, changed %v (%s), want %s, %v", out.Reason, out.Changed, out.Message, reason, changed)
	}
	if (out.Err != nil) != (reason == state.ReasonFailed || reason == state.ReasonConfigReadOnly) {
		f.t.Errorf("outcome %s with the error %v", out.Reason, out.Err)
	}
	if !strings.HasSuffix(out.Message, ".") {
		f.t.Errorf("outcome %s: %q is no sentence", out.Reason, out.Message)
	}
}

func TestPromote(t *testing.T) {
	t.Parallel()
	const noChange = "" // stands for: as before
	for _, tc := range []struct {
		name    string
		prepare func(f *fixture)
		current string // before
		o       PromoteOptions
		reason  state.Reason
		changed bool
		want    string // current afterwards, noChange for as before
	}{
		{
			name: "missing context", current: "gone", o: PromoteOptions{Policy: PromoteIfBroken},
			reason: state.ReasonPromoted, changed: true, want: "rd",
		}, {
			name: "broken context", current: "dead", o: PromoteOptions{Policy: PromoteIfBroken},
			reason: state.ReasonPromoted, changed: true, want: "rd",
		}, {
			name: "dry run", current: "dead", o: PromoteOptions{Policy: PromoteIfBroken, DryRun: true},
			reason: state.ReasonPromoted, changed: true,
		}, {
			name: "healthy", current: "good", o: PromoteOptions{Policy: PromoteIfBroken},
			reason: state.ReasonCurrentHealthy,
		}, {
			name: "unknown", current: "far", o: PromoteOptions{Policy: PromoteIfBroken},
			reason: state.ReasonCurrentUnknown,
		}, {
			name: "never", current: "dead", o: PromoteOptions{Policy: PromoteNever},
			reason: state.ReasonNotRequested,
		}, {
			name: "never, but current", current: "rd", o: PromoteOptions{Policy: PromoteNever},
			reason: state.ReasonAlreadyCurrent,
		}, {
			name: "always", current: "good", o: PromoteOptions{Policy: PromoteAlways},
			reason: state.ReasonPromoted, changed: true, want: "rd",
		}, {
			name: "force", current: "far", o: PromoteOptions{Policy: PromoteAlways},
			reason: state.ReasonPromoted, changed: true, want: "rd",
		}, {
			name: "already current", current: "rd", o: PromoteOptions{Policy: PromoteIfBroken},
			reason: state.ReasonAlreadyCurrent,
		}, {
			name: "engine is down", current: "gone", o: PromoteOptions{Policy: PromoteIfBroken},
			prepare: func(f *fixture) { f.goes(Away) },
			reason:  state.ReasonNotApplicable,
		}, {
			name: "our context is gone", current: "gone", o: PromoteOptions{Policy: PromoteAlways},
			prepare: func(f *fixture) { f.wantOutcome(f.Remove(f.t.Context(), rd), state.ReasonRemoved, true) },
			reason:  state.ReasonNotApplicable,
		}, {
			name: "a foreign context of our name is current", current: "rd", o: PromoteOptions{Policy: PromoteAlways},
			prepare: func(f *fixture) { f.healthyContext("rd") },
			reason:  state.ReasonNotApplicable,
		}, {
			name: "invalid configuration", o: PromoteOptions{Policy: PromoteAlways},
			prepare: func(f *fixture) { f.write(f.file(), `{"currentContext": "gone",`) },
			current: "-", reason: state.ReasonFailed,
		}, {
			name: "configuration can't be edited", current: "gone", o: PromoteOptions{Policy: PromoteAlways},
			prepare: func(f *fixture) {
				if err := os.Link(f.file(), f.file()+".link"); err != nil {
					f.t.Fatal(err)
				}
			},
			reason: state.ReasonFailed,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := setup(t)
			f.healthyContext("good")
			f.brokenContext("dead")
			f.unknownContext("far")
			f.own(rd)
			if tc.current != "-" {
				f.use(tc.current)
			}
			if tc.prepare != nil {
				tc.prepare(f)
			}
			before, _ := os.ReadFile(f.file())
			out := f.promote(rd, tc.o)
			f.wantOutcome(out, tc.reason, tc.changed)
			after, _ := os.ReadFile(f.file())
			if (string(before) != string(after)) != (tc.want != noChange) {
				t.Errorf("the configuration was %s and is %s", before, after)
			}
			if tc.want == noChange {
				f.wantPromoted()
				return
			}
			f.wantCurrent(tc.want)
			f.wantPromoted(rd)
			if out.Previous != tc.current || out.Current != tc.want {
				t.Errorf("outcome tells of %q and %q", out.Previous, out.Current)
			}
			if r, err := f.readRecord(); err != nil || r.Previous != tc.current {
				t.Errorf("the record remembers %q (%v), want %q", r.Previous, err, tc.current)
			}
		})
	}
	f := setup(t)
	f.wantOutcome(f.promote(Owner{}, PromoteOptions{Policy: PromoteAlways}), state.ReasonNotApplicable, false)
}

func TestOutcomeStatus(t *testing.T) {
	for condition, statuses := range map[string]map[state.Status][]state.Reason{
		state.ContextReady: {
			state.True:  {state.ReasonCreated, state.ReasonNotApplicable},
			state.False: {state.ReasonFailed, state.ReasonForeign, state.ReasonRemoved, state.ReasonLedElsewhere, state.ReasonConfigReadOnly},
		},
		state.ContextPromoted: {
			state.True: {state.ReasonPromoted, state.ReasonAlreadyCurrent},
			state.False: {
				state.ReasonCurrentHealthy, state.ReasonCurrentUnknown, state.ReasonNotRequested, state.ReasonDemoted,
				state.ReasonChangedByUser, state.ReasonFailed, state.ReasonNotApplicable, state.ReasonNotPermitted,
			},
			state.Unknown: {state.ReasonProbing},
		},
		state.SocketClaimed: {
			state.True:    {state.ReasonClaimed},
			state.False:   {state.ReasonInUse, state.ReasonNotRequested, state.ReasonNotPermitted, state.ReasonReleased, state.ReasonNotApplicable, state.ReasonFailed},
			state.Unknown: {state.ReasonProbing},
		},
	} {
		for want, reasons := range statuses {
			for _, reason := range reasons {
				if got := (Outcome{Reason: reason}).Status(condition); got != want {
					t.Errorf("%s is %s for %s, want %s", condition, got, reason, want)
				}
			}
		}
	}
}

// The stored context is judged, not what the shell makes of it, and that is said.
func TestPromoteInShellWithOverride(t *testing.T) {
	f := setup(t)
	f.own(rd)
	f.healthyContext("good")
	f.use("gone")
	for _, env := range []string{"DOCKER_CONTEXT", "DOCKER_HOST"} {
		f := f.with(map[string]string{env: "good"})
		f.use("gone")
		out := f.promote(rd, PromoteOptions{Policy: PromoteIfBroken})
		f.wantOutcome(out, state.ReasonPromoted, true)
		if out.EnvOverride != env || !strings.Contains(out.Message, env) {
			t.Errorf("%s is not told of: %+v", env, out)
		}
		f.wantCurrent("rd")
	}
}

// DOCKER_HOST decides what "default" is in one shell, not for the others.
func TestJudgeDefaultWithoutEnvironment(t *testing.T) {
	f := setup(t).with(map[string]string{"DOCKER_HOST": "tcp://127.0.0.1:1"})
	if j := f.Judge(t.Context(), rd, PromoteIfBroken); j.Report.Host == "tcp://127.0.0.1:1" {
		t.Errorf("Judge looked at DOCKER_HOST: %+v", j)
	}
}

// docker runs the docker CLI on the configuration.
func (f *fixture) docker(args ...string) {
	f.t.Helper()
	cmd := exec.Command("docker", append([]string{"--config", f.o.Dir}, args...)...)
	cmd.Env = append(os.Environ(), "DOCKER_HOST=", "DOCKER_CONTEXT=", "DOCKER_CONFIG="+f.o.Dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		f.t.Fatalf("docker %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// The user chooses while the probe is under way: the choice stands.
func TestUserChoosesDuringProbe(t *testing.T) {
	f := setup(t)
	f.own(rd)
	f.healthyContext("other")
	f.use("gone")
	j := f.Judge(t.Context(), rd, PromoteIfBroken)
	if j.Report.Health != Broken {
		t.Fatalf("Judge = %+v", j)
	}
	f.docker("context", "use", "other")
	f.wantOutcome(f.Promote(t.Context(), j, rd, PromoteOptions{Policy: PromoteIfBroken}), state.ReasonChangedByUser, false)
	f.wantCurrent("other")
	f.wantPromoted()

	f.docker("context", "use", "rd")
	f.wantOutcome(f.Promote(t.Context(), j, rd, PromoteOptions{Policy: PromoteIfBroken}), state.ReasonAlreadyCurrent, false)
	f.wantPromoted()
}

// The current context is judged when the engine is started, which may take long: what
// works by the time it could be replaced stays.
func TestPromoteLooksAgain(t *testing.T) {
	f := setup(t)
	f.own(rd)
	f.brokenContext("late")
	f.use("late")
	j := f.Judge(t.Context(), rd, PromoteIfBroken)
	if j.Report.Health != Broken {
		t.Fatalf("Judge = %+v", j)
	}
	for _, tc := range []struct {
		reason state.Reason
		serve  http.Handler
	}{
		{state.ReasonCurrentUnknown, status(500, "starting")},
		{state.ReasonCurrentHealthy, endpointtest.Handler()},
	} {
		path := filepath.Join(f.o.Dir, "gone.sock")
		_ = os.Remove(path)
		endpointtest.UnixAt(t, path, tc.serve)
		f.wantOutcome(f.Promote(t.Context(), j, rd, PromoteOptions{Policy: PromoteIfBroken}), tc.reason, false)
		f.wantCurrent("late")
		f.wantPromoted()
	}
}

func TestDemote(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name       string
		previous   string
		meanwhile  func(f *fixture)
		candidates []Owner
		reason     state.Reason
		want       string
		promoted   []Owner
	}{
		{name: "previous is healthy", previous: "good", candidates: []Owner{rdB}, reason: state.ReasonDemoted, want: "good"},
		{name: "another instance runs", previous: "dead", candidates: []Owner{rd, {}, rdB}, reason: state.ReasonDemoted, want: "rd-b", promoted: []Owner{rdB}},
		{name: "the other has no context", previous: "dead", candidates: []Owner{{UID: "x", Context: "rd-x"}}, reason: state.ReasonDemoted, want: "dead"},
		{name: "the other's is foreign", previous: "far", candidates: []Owner{{UID: "x", Context: "good"}}, reason: state.ReasonDemoted, want: "far"},
		{name: "previous exists", previous: "far", reason: state.ReasonDemoted, want: "far"},
		{name: "previous is gone", previous: "gone", reason: state.ReasonDemoted, want: ""},
		{name: "previous was unset", previous: "", reason: state.ReasonDemoted, want: ""},
		{name: "previous was default", previous: "default", reason: state.ReasonDemoted, want: "default"},
		{
			name: "previous is damaged", previous: "far", reason: state.ReasonDemoted, want: "far",
			meanwhile: func(f *fixture) { f.putRaw("far", "{") },
		}, {
			name: "user chose another", previous: "good", reason: state.ReasonChangedByUser, want: "far",
			meanwhile: func(f *fixture) { f.docker("context", "use", "far") },
		}, {
			name: "user chose none", previous: "good", reason: state.ReasonChangedByUser, want: "",
			meanwhile: func(f *fixture) { f.docker("context", "use", "default") },
		}, {
			name: "user removed our context", previous: "good", reason: state.ReasonChangedByUser, want: "",
			meanwhile: func(f *fixture) { f.docker("context", "rm", "-f", "rd") },
		}, {
			name: "invalid configuration", previous: "good", reason: state.ReasonFailed, want: "-", promoted: []Owner{rd},
			meanwhile: func(f *fixture) { f.write(f.file(), "{") },
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := setup(t)
			f.healthyContext("good")
			f.brokenContext("dead")
			f.unknownContext("far")
			f.own(rd)
			f.own(rdB)
			f.use(tc.previous)
			f.promoted(rd)
			if tc.meanwhile != nil {
				tc.meanwhile(f)
			}
			out := f.demoteTo(rd, tc.candidates...)
			f.wantOutcome(out, tc.reason, tc.reason == state.ReasonDemoted)
			if tc.want != "-" {
				f.wantCurrent(tc.want)
				if out.Current != named(tc.want) {
					t.Errorf("the outcome tells of %q", out.Current)
				}
			}
			f.wantPromoted(tc.promoted...)
		})
	}
}

// What nobody recorded is nobody's to take back.
func TestUserChoseOurs(t *testing.T) {
	f := setup(t)
	f.own(rd)
	f.docker("context", "use", "rd")
	f.wantOutcome(f.promote(rd, PromoteOptions{Policy: PromoteIfBroken}), state.ReasonAlreadyCurrent, false)
	f.wantOutcome(f.Demote(t.Context(), rd), state.ReasonAlreadyCurrent, false)
	f.wantOutcome(f.Remove(t.Context(), rd), state.ReasonAlreadyCurrent, false)
	f.wantCurrent("rd")
	if ok, err := f.Exists(rd); !ok {
		t.Errorf("the context is gone (%v), and current", err)
	}
	f.use("")
	f.wantOutcome(f.Demote(t.Context(), rd), state.ReasonNotApplicable, false)
	f.wantOutcome(f.Remove(t.Context(), rd), state.ReasonRemoved, true)
	f.wantOutcome(f.Demote(t.Context(), Owner{}), state.ReasonNotApplicable, false)
}

// One of us follows another: what was before the first is what is put back.
func TestPromoteChain(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.healthyContext("good")
	f.own(rd)
	f.own(rdB)
	f.use("good")
	f.promoted(rd)
	f.promoted(rdB)
	f.wantCurrent("rd-b")
	f.wantPromoted(rdB)
	f.wantOutcome(f.demoteTo(rd, rdB), state.ReasonNotApplicable, false)
	f.wantCurrent("rd-b")
	f.wantOutcome(f.demoteTo(rdB, rd), state.ReasonDemoted, true)
	f.wantCurrent("good")

	// A handed-over promotion remembers it too.
	f.brokenContext("good")
	f.promoted(rd)
	f.wantOutcome(f.demoteTo(rd, rdB), state.ReasonDemoted, true)
	f.wantCurrent("rd-b")
	f.wantOutcome(f.Demote(t.Context(), rdB), state.ReasonDemoted, true)
	f.wantCurrent("good")

	// Nobody knows what was before a choice of the user among ours.
	f.use("rd")
	f.promoted(rdB)
	if r, err := f.readRecord(); err != nil || r.Previous != "" {
		t.Errorf("the record remembers our own %q (%v)", r.Previous, err)
	}
}

// Who made the context the current one, and who ended that, is told apart.
func TestPromoted(t *testing.T) {
	f := setup(t)
	f.healthyContext("good")
	f.own(rd)
	f.own(rdB)
	f.use("good")
	want := func(owner Owner, reason state.Reason, message string) {
		t.Helper()
		f.Repair(t.Context()) // as a supervisor does that sees a change
		out := f.Promoted(t.Context(), owner)
		if out.Reason != reason || !strings.Contains(out.Message, message) {
			t.Errorf("Promoted(%q) = %+v, want %s and %q", owner.Context, out, reason, message)
		}
	}
	f.promoted(rd)
	want(rd, state.ReasonPromoted, `"rd"`)
	f.promoted(rdB)
	want(rd, state.ReasonDemoted, `"rd-b"`)
	f.Demote(t.Context(), rdB)
	want(rdB, state.ReasonDemoted, `"good"`)
	f.docker("context", "use", "rd")
	want(rd, state.ReasonAlreadyCurrent, `"rd"`)
	f.docker("context", "use", "good")
	f.promoted(rd)
	f.docker("context", "use", "default")
	want(rd, state.ReasonChangedByUser, `"default"`)
	f.write(f.file(), "{")
	want(rd, state.ReasonFailed, "not valid JSON")
}

// What is told of a promotion is so even while another process is ending it, or the user has
// just done so.
func TestPromotedMeanwhile(t *testing.T) {
	f := setup(t)
	f.healthyContext("good")
	f.own(rd)
	f.use("good")
	f.promoted(rd)
	told := make(chan Outcome, 1)
	fault = func(point string) {
		if point == "change:changed" {
			go func() { told <- f.Promoted(t.Context(), rd) }()
			time.Sleep(50 * time.Millisecond) // for one that does not wait to be wrong
		}
	}
	defer func() { fault = func(string) {} }()
	f.wantOutcome(f.Demote(t.Context(), rd), state.ReasonDemoted, true)
	if out := <-told; out.Reason != state.ReasonDemoted {
		t.Errorf("during the demotion: %+v", out)
	}
	f.promoted(rd)
	f.use("good")
	if out := f.Promoted(t.Context(), rd); out.Reason != state.ReasonChangedByUser {
		t.Errorf("after the user's choice: %+v", out)
	}
}

// docker login, begun while our context was current, ends after the stop.
func TestLateWriter(t *testing.T) {
	f := setup(t)
	f.healthyContext("good")
	f.own(rd)
	f.use("good")
	f.promoted(rd)
	f.wantOutcome(f.Demote(t.Context(), rd), state.ReasonDemoted, true)
	f.wantOutcome(f.Remove(t.Context(), rd), state.ReasonRemoved, true)
	f.use("rd")

	var missing *Finding
	for _, found := range f.doctor() {
		if found.Code == findingCurrentContextMissing {
			missing = &found
		}
	}
	if missing == nil || !strings.Contains(missing.Message, "docker login") || !missing.Fixable {
		t.Errorf("the doctor does not explain it: %+v", missing)
	}
	f.wantOutcome(f.Repair(t.Context()), state.ReasonDemoted, true)
	f.wantCurrent("good")
	f.wantOutcome(f.Repair(t.Context()), state.ReasonNotApplicable, false)

	// The same name, chosen by the user after the next start, is his.
	f.own(rd)
	f.use("rd")
	f.wantOutcome(f.Repair(t.Context()), state.ReasonNotApplicable, false)
	f.wantCurrent("rd")
}

// After a choice of the user's, it is that which a late writer undoes.
func TestLateWriterAfterChoice(t *testing.T) {
	for _, choice := range []string{"other", ""} {
		f := setup(t)
		f.healthyContext("good")
		f.healthyContext("other")
		f.own(rd)
		f.use("good")
		f.promoted(rd)
		f.use(choice)
		f.wantOutcome(f.Demote(t.Context(), rd), state.ReasonChangedByUser, false)
		f.wantOutcome(f.Remove(t.Context(), rd), state.ReasonRemoved, true)
		f.use("rd")
		f.wantOutcome(f.repairWhile(Gone), state.ReasonDemoted, true)
		f.wantCurrent(choice)
	}
}

// A file that says nothing is no choice: an editor saves it in steps, a home directory is
// away for a while. What was promoted is handed back once the file is there again.
func TestSilenceIsNoChoice(t *testing.T) {
	for name, silence := range map[string]func(f *fixture, path string) error{
		"missing":   func(_ *fixture, path string) error { return os.Rename(path, path+".away") },
		"away":      func(f *fixture, _ string) error { return os.Rename(f.o.Dir, f.o.Dir+".away") },
		"empty":     func(_ *fixture, path string) error { return os.Truncate(path, 0) },
		"blank":     func(_ *fixture, path string) error { return os.WriteFile(path, []byte(" \n"), 0o600) },
		"truncated": func(_ *fixture, path string) error { return os.Truncate(path, 20) },
	} {
		t.Run(name, func(t *testing.T) {
			f := setup(t)
			f.healthyContext("good")
			f.own(rd)
			f.use("good")
			f.promoted(rd)
			text, err := os.ReadFile(f.file())
			if err != nil {
				t.Fatal(err)
			}
			if err := silence(f, f.file()); err != nil {
				t.Fatal(err)
			}
			f.repairWhile(Up)
			f.Demote(t.Context(), rd)
			if name == "away" {
				if err := os.Rename(f.o.Dir+".away", f.o.Dir); err != nil {
					t.Fatal(err)
				}
			}
			f.write(f.file(), string(text))
			if out := f.Promoted(t.Context(), rd); out.Reason != state.ReasonPromoted {
				t.Errorf("Promoted = %+v", out)
			}
			f.wantOutcome(f.repairWhile(Gone), state.ReasonDemoted, true)
			f.wantCurrent("good")
		})
	}
}

// goneIs says that one engine is gone, and the others are up.
func goneIs(gone Owner) func(Owner) EngineState {
	return func(o Owner) EngineState {
		if o == gone {
			return Gone
		}
		return Up
	}
}

func TestRepair(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.wantOutcome(f.repairWhile(Gone), state.ReasonNotApplicable, false)
	if _, err := os.Stat(filepath.Dir(f.o.LockFile)); err == nil {
		t.Error("repairing nothing made a directory")
	}
	f.healthyContext("good")
	f.own(rd)
	f.own(rdB)
	f.use("good")
	f.promoted(rd)
	f.wantOutcome(f.repairWhile(Up), state.ReasonNotApplicable, false)
	f.wantCurrent("rd")
	f.wantOutcome(f.repairWhile(Gone), state.ReasonDemoted, true)
	f.wantCurrent("good")
	f.wantPromoted()

	// Removed by docker context rm while DOCKER_HOST was set: current all the same.
	f.promoted(rd)
	if err := f.store.Remove("rd"); err != nil {
		t.Fatal(err)
	}
	f.wantOutcome(f.repairWhile(Up), state.ReasonDemoted, true)
	f.wantCurrent("good")
	f.wantOutcome(f.Ready(rd, endpoint.Endpoint{}), state.ReasonRemoved, false)
	f.own(rd)

	f.brokenContext("good")
	f.promoted(rd)
	f.state, f.others = goneIs(rd), []Owner{rdB}
	f.wantOutcome(f.Repair(t.Context()), state.ReasonDemoted, true)
	f.state, f.others = nil, nil
	f.wantCurrent("rd-b")
	f.wantPromoted(rdB)

	f.use("good")
	f.wantOutcome(f.repairWhile(Up), state.ReasonChangedByUser, false)
	f.wantPromoted()
	f.use("rd-b")
	f.wantOutcome(f.repairWhile(Gone), state.ReasonNotApplicable, false) // the user's own choice now
	f.wantCurrent("rd-b")

	f.write(f.o.RecordFile, "{")
	f.wantOutcome(f.repairWhile(Gone), state.ReasonNotApplicable, false)
	f.promoted(rd) // starts a new record
	f.wantPromoted(rd)
}

// An engine that was started again while its previous context was probed keeps it.
func TestRepairLooksAgain(t *testing.T) {
	f := setup(t)
	f.own(rd)
	f.promoted(rd)
	asked := 0
	f.state = func(Owner) EngineState {
		if asked++; asked == 1 {
			return Gone
		}
		return Up
	}
	f.wantOutcome(f.Repair(t.Context()), state.ReasonNotApplicable, false)
	f.wantCurrent("rd")
}

// Killed anywhere, the next command repairs it: the current context exists, and is what
// it would be without the kill.
func TestKilled(t *testing.T) {
	t.Parallel()
	for _, point := range []string{"record:written", "change:recorded", "change:changed"} {
		t.Run("promote/"+point, func(t *testing.T) {
			f := setup(t)
			f.healthyContext("good")
			f.own(rd)
			f.use("good")
			f.killAt(point, "promote", rd)
			f.repairWhile(Gone)
			f.wantOutcome(f.Remove(t.Context(), rd), state.ReasonRemoved, true)
			f.wantCurrent("good")
			f.wantPromoted()
			f.wantNoLitter()
		})
	}
	for _, point := range []string{"record:written", "change:recorded", "change:changed"} {
		for _, candidates := range [][]Owner{nil, {rdB}} {
			t.Run(fmt.Sprintf("demote/%s/%d", point, len(candidates)), func(t *testing.T) {
				f := setup(t)
				f.brokenContext("dead")
				f.own(rd)
				f.own(rdB)
				f.use("dead")
				f.promoted(rd)
				f.killAt(point, "demote", rd, candidates...)
				f.state, f.others = goneIs(rd), candidates
				f.Repair(t.Context())
				f.state, f.others = nil, nil
				f.wantOutcome(f.Remove(t.Context(), rd), state.ReasonRemoved, true)
				if candidates == nil {
					f.wantCurrent("dead")
					f.wantPromoted()
					f.wantNoLitter()
					return
				}
				f.wantCurrent("rd-b")
				f.wantPromoted(rdB)
				// And the other's turn ends as it would have.
				f.wantOutcome(f.Demote(t.Context(), rdB), state.ReasonDemoted, true)
				f.wantCurrent("dead")
				f.wantNoLitter()
			})
		}
	}
	for _, point := range []string{"remove:checked", "remove:removed"} {
		t.Run("remove/"+point, func(t *testing.T) {
			f := setup(t)
			f.own(rd)
			f.killAt(point, "remove", rd)
			f.wantOutcome(f.Remove(t.Context(), rd), state.ReasonRemoved, point == "remove:checked")
		})
	}
}

// The same at any moment, also within the edit of config.json.
func TestKilledAnytime(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.healthyContext("good")
	f.own(rd)
	for i := range 60 {
		f.use("good")
		do := "promote"
		if i%2 == 1 {
			f.promoted(rd)
			do = "demote"
		}
		cmd := f.command(job{Do: do, Owner: rd})
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5*time.Millisecond + time.Duration(i)*time.Millisecond/2)
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if out := f.repairWhile(Gone); out.Err != nil {
			t.Fatalf("Repair: %v", out.Err)
		}
		f.wantCurrent("good")
		f.wantPromoted()
	}
	f.wantNoLitter()
}

func (f *fixture) wantNoLitter() {
	f.t.Helper()
	// The lock is free: what is written now replaces what a kill left.
	_, err := f.update(f.t.Context(), func(t *tx) (Outcome, error) { return Outcome{}, t.save(t.record) })
	if err != nil {
		f.t.Error(err)
	}
	for _, dir := range []string{f.o.Dir, filepath.Dir(f.o.RecordFile)} {
		entries, err := os.ReadDir(dir)
		if err != nil {
			f.t.Fatal(err)
		}
		for _, e := range entries {
			switch e.Name() {
			case "config.json", "contexts", "lock", "record.json":
			default:
				f.t.Errorf("%s is left in %s", e.Name(), dir)
			}
		}
	}
}

// The worst bug of this field: a probe that ends after the stop writes the dead context
// back. However they meet, what is current exists.
func TestStopDuringSlowProbe(t *testing.T) {
	const workers, rounds = 4, 25
	for w := range workers {
		t.Run(fmt.Sprint(w), func(t *testing.T) {
			t.Parallel()
			f := setup(t)
			for i := range rounds {
				f.stopDuringProbe(time.Duration(w*rounds+i-workers*rounds/2)*100*time.Microsecond, i%2 == 0)
			}
		})
	}
}

// stopDuringProbe starts a promotion, stops the engine that long after the probe should
// have ended, and checks that nothing points to what is gone.
func (f *fixture) stopDuringProbe(after time.Duration, cancelIt bool) {
	t := f.t
	t.Helper()
	e := endpoint.Endpoint{Host: "unix:///engine.sock"}
	if out := f.Create(t.Context(), rd, e, ""); out.Reason != state.ReasonCreated {
		t.Fatalf("Create: %+v", out)
	}
	f.use("gone") // whose two looks take proofPause
	var up atomic.Bool
	up.Store(true)
	f.state = func(Owner) EngineState {
		if up.Load() {
			return Up
		}
		return Away
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var wg sync.WaitGroup
	wg.Go(func() {
		j := f.Judge(ctx, rd, PromoteIfBroken)
		f.Promote(ctx, j, rd, PromoteOptions{Policy: PromoteIfBroken})
	})
	time.Sleep(proofPause + after)
	up.Store(false)
	if cancelIt {
		cancel() // as the supervisor does; commands only ask
	}
	f.Demote(t.Context(), rd)
	f.wantOutcome(f.Remove(t.Context(), rd), state.ReasonRemoved, true)
	wg.Wait()
	if current, err := f.Current(); err != nil || current == "rd" {
		t.Fatalf("%s after the probe: %q is current (%v), and removed", after, current, err)
	}
	f.wantPromoted()
}

// docker context use in a loop beside promotions and demotions: whenever both rest,
// the current context exists.
func TestRaceWithDockerContextUse(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.healthyContext("good")
	f.own(rd)
	f.use("good")
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(done)
		for i := range 15 {
			f.docker("context", "use", []string{"good", "default"}[i%2])
		}
	})
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		f.promote(rd, PromoteOptions{Policy: PromoteAlways})
		f.Demote(t.Context(), rd)
	}
	wg.Wait()
	f.repairWhile(Gone)
	f.wantOutcome(f.Remove(t.Context(), rd), state.ReasonRemoved, true)
	if current, err := f.Current(); err != nil || !f.exists(current) {
		t.Errorf("%q is current (%v)", current, err)
	}
}

// Somebody chooses our context in the very moment in which it is removed.
func TestRemoveRace(t *testing.T) {
	f := setup(t)
	f.own(rd)
	was, err := f.store.GetMetadata("rd")
	if err != nil {
		t.Fatal(err)
	}
	fault = func(point string) {
		if point == "remove:removed" {
			f.use("rd")
		}
	}
	defer func() { fault = func(string) {} }()
	f.wantOutcome(f.Remove(t.Context(), rd), state.ReasonAlreadyCurrent, false)
	if now, err := f.store.GetMetadata("rd"); err != nil || fmt.Sprint(now) != fmt.Sprint(was) {
		t.Errorf("the context is %v (%v), was %v", now, err, was)
	}
}

// restart stops and starts the engine and leaves the promotion alone.
func TestRestartOfPromoted(t *testing.T) {
	f := setup(t)
	f.healthyContext("good")
	f.own(rd)
	f.use("good")
	f.promoted(rd)
	f.wantOutcome(f.repairWhile(Away), state.ReasonNotApplicable, false)
	f.own(rd) // at another socket
	f.wantOutcome(f.promote(rd, PromoteOptions{Policy: PromoteIfBroken}), state.ReasonAlreadyCurrent, false)
	f.wantPromoted(rd)
	f.wantOutcome(f.Demote(t.Context(), rd), state.ReasonDemoted, true)
	f.wantCurrent("good")
}

// Each Docker configuration has its own current context, record and lock.
func TestSeparateConfigurations(t *testing.T) {
	a, b := setup(t), setup(t)
	for _, f := range []*fixture{a, b} {
		f.healthyContext("good")
		f.own(rd)
		f.use("good")
	}
	a.promoted(rd)
	b.wantCurrent("good")
	b.wantOutcome(b.Demote(t.Context(), rd), state.ReasonNotApplicable, false)
	a.wantCurrent("rd")
}

// Who holds the lock is told when the time is up.
func TestLockHeld(t *testing.T) {
	f := setup(t)
	f.own(rd)
	f.use("gone")
	j := Judgement{Stored: "gone"}
	if err := os.MkdirAll(filepath.Dir(f.o.LockFile), 0o700); err != nil {
		t.Fatal(err)
	}
	unlock, err := lock.TryAcquire(f.o.LockFile)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	out := f.Promote(ctx, j, rd, PromoteOptions{Policy: PromoteAlways})
	f.wantOutcome(out, state.ReasonFailed, false)
	if !strings.Contains(out.Message, fmt.Sprint(os.Getpid())) {
		t.Errorf("%q does not tell who holds the lock", out.Message)
	}
	unlock()
	f.wantCurrent("gone")
}

// With nothing to change, nothing is written, not even the lock.
func TestSteadyStateIsSilent(t *testing.T) {
	f := setup(t)
	f.healthyContext("good")
	f.own(rd)
	f.use("good")
	before := f.tree()
	f.promote(rd, PromoteOptions{Policy: PromoteIfBroken})
	f.promote(rd, PromoteOptions{Policy: PromoteIfBroken, DryRun: true})
	f.repairWhile(Gone)
	f.Ready(rd, endpoint.Endpoint{})
	f.all = []OwnerInfo{{Owner: rd, State: Up}}
	f.doctor()
	if after := f.tree(); after != before {
		t.Errorf("before:\n%safter:\n%s", before, after)
	}
}

// tree lists all files with their time of change.
func (f *fixture) tree() string {
	f.t.Helper()
	var b strings.Builder
	err := filepath.Walk(filepath.Dir(f.o.Dir), func(path string, info os.FileInfo, err error) error {
		if err == nil {
			fmt.Fprintln(&b, path, info.Size(), info.ModTime().UnixNano())
		}
		return err
	})
	if err != nil {
		f.t.Fatal(err)
	}
	return b.String()
}

// BenchmarkPromoteNothing is what docker-rd context promote does where our context is
// the current one.
func BenchmarkPromoteNothing(b *testing.B) {
	dir := b.TempDir()
	c := Open(Options{Dir: dir, LockFile: filepath.Join(dir, "lock"), RecordFile: filepath.Join(dir, "record"), Owners: &instances{}})
	if err := os.WriteFile(c.file(), []byte(`{"currentContext":"rd"}`), 0o600); err != nil {
		b.Fatal(err)
	}
	if out := c.Create(b.Context(), rd, endpoint.Endpoint{Host: "unix:///s"}, ""); out.Err != nil {
		b.Fatal(out.Err)
	}
	for b.Loop() {
		c.Repair(b.Context())
		j := c.Judge(b.Context(), rd, PromoteIfBroken)
		if out := c.Promote(b.Context(), j, rd, PromoteOptions{Policy: PromoteIfBroken}); out.Reason != state.ReasonAlreadyCurrent {
			b.Fatalf("%+v", out)
		}
	}
}

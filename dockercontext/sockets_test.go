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

// claimed makes rd's context with an engine, and has it claim the default socket, to which
// a context of the user's leads that is current.
func claimed(t *testing.T) (f *fixture, engine string) {
	t.Helper()
	f = setup(t)
	engine = endpointtest.Unix(t, endpointtest.Handler())
	if out := f.Create(t.Context(), rd, endpoint.Endpoint{Host: "unix://" + engine}, ""); out.Reason != state.ReasonCreated {
		t.Fatalf("%+v", out)
	}
	f.put("standard", endpoint.Endpoint{Host: "unix://" + f.o.Sockets[0]})
	f.use("standard")
	f.wantOutcome(f.Claim(t.Context(), rd, engine, PromoteIfBroken, nil), state.ReasonClaimed, true)
	f.wantOutcome(f.Claimed(rd), state.ReasonClaimed, false)
	return f, engine
}

func (f *fixture) wantSocket(there bool) {
	f.t.Helper()
	if _, err := os.Lstat(f.o.Sockets[0]); (err == nil) != there {
		f.t.Errorf("the default socket exists: %v", err == nil)
	}
}

// What leads to our engine by a claim is told by name, and is nobody else's health.
func TestClaimIsNobodysHealth(t *testing.T) {
	f, _ := claimed(t)
	r := f.wantProbe("standard", long, Healthy, probeHealthy)
	if r.ClaimedFor != "rd" || !strings.Contains(r.Message, `"rd"`) {
		t.Errorf("Probe = %+v", r)
	}
	if j := f.Judge(t.Context(), rd, PromoteIfBroken); j.Report.Health != Broken || !strings.Contains(j.Report.Message, `"rd"`) {
		t.Errorf("Judge = %+v", j)
	}

	// The promotion is made, and undone, as without the claim; with the end of it the claim
	// goes too.
	f.wantOutcome(f.promote(rd, PromoteOptions{Policy: PromoteIfBroken}), state.ReasonPromoted, true)
	f.own(rdB)
	f.wantOutcome(f.demoteTo(rd, rdB), state.ReasonDemoted, true)
	f.wantCurrent("rd-b")
	f.wantSocket(false)
	f.wantOutcome(f.Claimed(rd), state.ReasonReleased, false)
	f.wantOutcome(f.Release(t.Context(), rd), state.ReasonNotApplicable, false)
	f.wantOutcome(f.Demote(t.Context(), rdB), state.ReasonDemoted, true)
	f.wantCurrent("standard")
}

// The claim goes although the user chose the context: a stop ends both.
func TestDemoteReleases(t *testing.T) {
	f, _ := claimed(t)
	f.use("rd")
	f.wantOutcome(f.Demote(t.Context(), rd), state.ReasonAlreadyCurrent, false)
	f.wantSocket(false)
}

// The supervisor was killed, and its engine is gone.
func TestRepairReleases(t *testing.T) {
	f, engine := claimed(t)
	f.wantOutcome(f.repairWhile(Away), state.ReasonNotApplicable, false)
	f.wantSocket(true)
	f.goes(Gone)
	f.all = []OwnerInfo{{Owner: rd, State: Gone}}
	found := f.doctor()
	f.all = nil
	if len(found) != 1 || found[0].Code != findingSocketLeft || found[0].Subject != f.o.Sockets[0] {
		t.Fatalf("the doctor finds %+v", found)
	}
	if fixed, err := found[0].Fix(t.Context()); err != nil || !strings.Contains(fixed.Message, "given back") {
		t.Errorf("Fix = %+v, %v", fixed, err)
	}
	f.wantSocket(false)
	f.runs()
	f.wantOutcome(f.Claim(t.Context(), rd, engine, PromoteIfBroken, nil), state.ReasonClaimed, true)
	f.wantOutcome(f.repairWhile(Gone), state.ReasonReleased, true)
	f.wantSocket(false)
	f.wantOutcome(f.repairWhile(Gone), state.ReasonNotApplicable, false)
}

// A claim goes with the promotion, also if the one that promotes has not given back the claim of
// the replaced one yet. One that was made under another configuration stays.
func TestClaimFollowsCurrent(t *testing.T) {
	f, engine := claimed(t)
	f.own(rdB)
	f.use("rd-b")
	f.wantOutcome(f.Claim(t.Context(), rdB, engine, PromoteIfBroken, nil), state.ReasonClaimed, true)
	f.wantOutcome(f.Claimed(rd), state.ReasonReleased, false)
	f.Release(t.Context(), rdB)

	elsewhere := Owner{UID: "elsewhere", Context: "rd-elsewhere"}
	made, err := f.o.Claims.Make(t.Context(), elsewhere, engine, f.o.Sockets, nil, func() bool { return true })
	if err != nil || !made[0].Changed {
		t.Fatalf("%+v, %v", made, err)
	}
	f.wantOutcome(f.Claim(t.Context(), rdB, engine, PromoteIfBroken, nil), state.ReasonInUse, false)
}

func TestNotClaimed(t *testing.T) {
	f, engine := claimed(t)
	f.own(rdB)
	out := f.Claim(t.Context(), rdB, engine, PromoteAlways, nil)
	f.wantOutcome(out, state.ReasonInUse, false)
	if !strings.Contains(out.Message, `"rd"`) {
		t.Errorf("%q does not say whose it is", out.Message)
	}
	f.Release(t.Context(), rd)
	f.wantOutcome(f.Claim(t.Context(), rd, engine, PromoteNever, nil), state.ReasonNotRequested, false)
	f.goes(Away)
	f.wantOutcome(f.Claim(t.Context(), rd, engine, PromoteAlways, nil), state.ReasonNotApplicable, false)
	f.runs()
	f.wantSocket(false)

	// Of its own socket an engine needs no claim.
	endpointtest.UnixAt(t, f.o.Sockets[0], endpointtest.Handler())
	f.wantOutcome(f.Claim(t.Context(), rd, f.o.Sockets[0], PromoteAlways, nil), state.ReasonNotApplicable, false)
	f.wantOutcome(f.Claim(t.Context(), rd, engine, PromoteAlways, nil), state.ReasonInUse, false)
	if err := os.WriteFile(filepath.Join(f.o.Dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	f.o.Sockets = []string{filepath.Join(f.o.Dir, "none", "such", "s")}
	none := Open(f.o)
	f.wantOutcome(none.Claim(t.Context(), rd, engine, PromoteAlways, nil), state.ReasonNotApplicable, false)
}

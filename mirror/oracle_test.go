package mirror_test

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/docker-rd/docker-rd/internal/endpoint"
	"github.com/docker-rd/docker-rd/internal/test/mirrortest"
	"github.com/docker-rd/docker-rd/internal/test/oracle"
	"github.com/docker-rd/docker-rd/internal/test/realengine"
	"github.com/docker-rd/docker-rd/mirror"
	"github.com/docker-rd/docker-rd/mirror/state"
)

var (
	oracleOps    = flag.Int("oracle.ops", 150, "operations of the oracle test")
	oracleSeed   = flag.Uint64("oracle.seed", 0, "seed of the oracle test, or 0 for a random one")
	oracleSocket = flag.String("oracle.socket", "", "socket of an engine of yours to use instead of a private dockerd; everything in it is fair game")
	oracleArgs   = flag.String("oracle.dockerd", "", "more arguments for the private dockerd, which is the one on the PATH")
	oracleLog    = flag.Bool("oracle.log", false, "log every operation, not only those before a failure")
)

// settleTime is how soon after the last change in the engine the file must equal it.
const settleTime = 2 * time.Second

// An oracleSubject is an engine that random things are done to.
type oracleSubject struct {
	dir      string
	socket   string
	oracle   oracle.Expecter
	drivers  []oracle.Stepper
	connect  func(socket string) func() (mirror.Engine, error)
	restart  func(signal string) error // the engine gets the signal and is started again; nil for an engine that is not ours
	hangable func(signal string) error // the engine gets STOP or CONT; nil if it can't
}

// oracleFaults are what happens while random things are done to an engine, once in each turn of so
// many batches.
const oracleFaults = 6

// Random operations on a real engine, by several clients at once, with the engine
// killed, the connection cut or stalled and the supervisor killed in between: when
// the engine is quiet, the file equals it.
func TestOracle(t *testing.T) {
	ctx := context.Background()
	dir := mirrortest.ShortDir(t)
	seed := oracleSeeded(t)
	s := oracleSubject{dir: dir, socket: *oracleSocket, connect: func(socket string) func() (mirror.Engine, error) {
		return mirrortest.ConnectTo("unix://" + socket)
	}}
	if s.socket == "" {
		realengine.Need(t)
		engine, err := realengine.StartDockerd(ctx, filepath.Join(dir, "d"), strings.Fields(*oracleArgs)...)
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := engine.Close(); err != nil {
				t.Error(err)
			}
		}()
		if err := engine.ServeRegistry(); err != nil {
			t.Fatal(err)
		}
		s.socket = engine.Socket
		s.restart = func(signal string) error {
			engine.Kill(signal)
			return engine.Start(ctx)
		}
	}
	rootfs, err := realengine.RootFS(dir)
	if err != nil {
		t.Fatal(err)
	}
	var drivers []*oracle.Driver
	for i := range oracleClients {
		cli, err := endpoint.Endpoint{Host: "unix://" + s.socket}.Client()
		if err != nil {
			t.Fatal(err)
		}
		defer cli.Close()
		d := oracle.NewDriver(cli.Client, seed, uint64(i+1), rootfs)
		drivers, s.drivers = append(drivers, d), append(s.drivers, d)
	}
	version, err := drivers[0].Version(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range drivers {
		d.Podman = strings.Contains(version, "Podman")
	}
	if err := drivers[0].Prepare(ctx); err != nil {
		t.Fatal(err)
	}
	s.oracle = oracle.New(s.socket)
	s.compare(t, seed)
}

// oracleClients is how many do random things beside each other.
const oracleClients = 3

func oracleSeeded(t *testing.T) uint64 {
	seed := *oracleSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("to repeat: -oracle.seed=%d -oracle.ops=%d", seed, *oracleOps)
	return seed
}

// compare does random things to the engine, and compares its mirror with it in between.
func (s *oracleSubject) compare(t *testing.T, seed uint64) {
	ctx := context.Background()
	rng := rand.New(rand.NewPCG(seed, 0))
	proxy, err := realengine.NewProxy(filepath.Join(s.dir, "p.sock"), s.socket)
	if err != nil {
		t.Fatal(err)
	}
	defer proxy.Close()
	var journal mirrortest.Lines // what was done since the file last equalled the engine
	for i, d := range s.drivers {
		d.Record().Log = func(format string, args ...any) {
			fmt.Fprintf(&journal, "%s client %d: %s\n", time.Now().Format("05.000"), i+1, fmt.Sprintf(format, args...))
		}
	}
	opts := mirror.SourceOptions{Connect: s.connect(proxy.Socket), Log: slog.New(slog.NewTextHandler(t.Output(), nil))}
	r := mirrortest.NewWith(t, s.dir, s.oracle, opts)
	stop := r.Start()
	defer func() { stop() }()

	const batch = 25
	var faults []int
	var slowest time.Duration
	for done := 0; done < *oracleOps; done += batch {
		if len(faults) == 0 {
			faults = rng.Perm(oracleFaults)
		}
		fault, signal := faults[0], []string{"KILL", "TERM"}[rng.IntN(2)]
		faults = faults[1:]
		over := make(chan struct{})
		go func() {
			defer close(over)
			oracle.Drive(ctx, s.drivers, batch)
		}()
		switch {
		case fault == 0 && s.restart != nil:
			t.Logf("after %d operations: the engine gets a SIG%s", done, signal)
			if err := s.restart(signal); err != nil {
				t.Fatal(err)
			}
		case fault == 1:
			t.Logf("after %d operations: the connections are cut", done)
			proxy.Cut()
		case fault == 2:
			t.Logf("after %d operations: the connections stall", done)
			proxy.Stall()
			<-over
			proxy.Resume()
		case fault == 3:
			t.Logf("after %d operations: another supervisor", done)
			stop()
			<-over
			r = r.Again()
			stop = r.Start()
		case fault == 4 && s.hangable != nil:
			hang := time.Duration(rng.IntN(3000)) * time.Millisecond
			t.Logf("after %d operations: the engine hangs for %v", done, hang)
			if err := s.hangable("STOP"); err != nil {
				t.Fatal(err)
			}
			time.Sleep(hang)
			if err := s.hangable("CONT"); err != nil {
				t.Fatal(err)
			}
		}
		<-over
		var excuses []oracle.Excuse
		for _, d := range s.drivers {
			record := d.Record()
			excuses = append(excuses, record.Excuses...)
			record.Excuses = nil
		}
		when := fmt.Sprintf("after %d operations", done+batch)
		if err := oracleAnswers(ctx, r); err != nil && s.restart != nil {
			// Debian's 20.10 can lock itself up, as with a container that is paused
			// while the kernel kills it. The mirror sees it through.
			t.Logf("%s: the engine hangs and is killed: %v", when, err)
			if err := s.restart("KILL"); err != nil {
				t.Fatal(err)
			}
		}
		slowest = max(slowest, settles(r, excuses, when))
		if t.Failed() {
			t.Logf("what was done before:\n%s", journal.Take())
			break
		}
		if done := journal.Take(); *oracleLog {
			t.Logf("%s:\n%s", when, done)
		}
	}
	t.Logf("the file equalled a quiet engine after at most %v", slowest)
	did, refused := map[string]int{}, map[string]int{}
	for _, d := range s.drivers {
		for op, n := range d.Record().Done {
			did[op] += n
			refused[op] += d.Record().Failed[op]
		}
	}
	for _, op := range slices.Sorted(maps.Keys(did)) {
		t.Logf("%-24s %5d, refused by the engine %d", op, did[op], refused[op])
	}
	if content, err := os.ReadFile(r.Path); err != nil || strings.Contains(string(content), "oracle-secret") {
		t.Errorf("the environment is in the state file, or it can't be read: %v", err)
	}
}

func oracleAnswers(ctx context.Context, r *mirrortest.Rig) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	_, err := r.Oracle.Expect(ctx)
	return err
}

// settles fails the test unless the file equals the engine soon after the engine is
// quiet: but for what is excused by events alone, and in everything after a sync. It
// returns how long the engine was quiet before the file was equal.
func settles(r *mirrortest.Rig, excuses []oracle.Excuse, when string) time.Duration {
	r.T.Helper()
	excused := func(d oracle.Difference) bool {
		return d.Untold() || slices.ContainsFunc(excuses, func(e oracle.Excuse) bool { return e.Covers(d) })
	}
	byEvents := equals(r, when, excused)
	syncNow(r, when)
	bySync := equals(r, when+" and a sync", func(oracle.Difference) bool { return false })
	syncOfNothingNew(r, when)
	return max(byEvents, bySync)
}

// equals waits until the file equals the engine but for what is excused, for settleTime
// from the moment on from which the engine is as it is.
func equals(r *mirrortest.Rig, when string, excused func(oracle.Difference) bool) time.Duration {
	r.T.Helper()
	var last oracle.Objects
	var late []oracle.Difference
	since := time.Now()
	for begin := since; ; time.Sleep(20 * time.Millisecond) {
		want := expect(r, when)
		if !reflect.DeepEqual(want, last) {
			last, since = want, time.Now()
		}
		quiet := time.Since(since) // before the file is read: it may be late, the test not
		r.Validate()
		content, err := os.ReadFile(r.Path)
		if err != nil {
			r.T.Fatal(err)
		}
		diffs, err := oracle.Differences(content, want)
		if err != nil {
			r.T.Fatal(err)
		}
		if diffs = slices.DeleteFunc(diffs, excused); len(diffs) == 0 {
			if quiet > settleTime/2 {
				r.T.Logf("%s it took %v until the file had\n%s", when, quiet, oracle.Lines(late))
			}
			return quiet
		}
		late = diffs
		if quiet > settleTime {
			r.T.Errorf("%s the file differs from the engine:\n%s", when, oracle.Lines(diffs))
			return quiet
		}
		if time.Since(begin) > 3*mirrortest.Patience {
			r.T.Fatalf("%s the engine is never quiet", when)
		}
	}
}

// expect asks the engine, again if it refuses: podman does for a moment while a container
// is being removed.
func expect(r *mirrortest.Rig, when string) oracle.Objects {
	r.T.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), mirrortest.Patience)
	defer cancel()
	for {
		want, err := r.Oracle.Expect(ctx)
		if err == nil {
			return want
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			r.T.Fatalf("%s: ask the engine: %v", when, err)
		}
	}
}

func syncNow(r *mirrortest.Rig, when string) {
	r.T.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), mirrortest.Patience)
	defer cancel()
	if err := r.Source.Sync(ctx); err != nil {
		r.T.Errorf("%s: sync: %v", when, err)
	}
}

// syncOfNothingNew fails the test if syncs change an object again and again though the
// engine has changed none. Once is nothing: moby's lists may be a moment behind.
func syncOfNothingNew(r *mirrortest.Rig, when string) {
	r.T.Helper()
	for n := 1; ; n++ {
		before, want := readNow(r), expect(r, when)
		syncNow(r, when)
		after := r.Await("the sync", func(s *state.State) bool { return s.Mirror.Resyncs > before.Mirror.Resyncs })
		was, err := oracle.Differences([]byte(mirrortest.Marshal(r.T, before)), want)
		if err != nil {
			r.T.Fatal(err)
		}
		changes := slices.DeleteFunc(state.Changes(before, after), func(c state.Change) bool { return failsOn(before, after, c) })
		if len(changes) == 0 || len(was) > 0 || !reflect.DeepEqual(expect(r, when), want) {
			return // nothing to see, or the engine is not quiet
		}
		if n == 3 {
			r.T.Errorf("%s a sync of nothing new makes\n%s\nof\n%s", when, mirrortest.Marshal(r.T, changes), mirrortest.Marshal(r.T, before))
			return
		}
	}
}

// failsOn reports whether a change is only that a container's health check has failed again: that
// goes on while the engine is quiet.
func failsOn(before, after *state.State, c state.Change) bool {
	old, now := before.Containers[c.ID], after.Containers[c.ID]
	if c.Kind != state.Containers || c.Type != state.Modified || old.HealthCheck == nil || now.HealthCheck == nil {
		return false
	}
	old.Revision, old.HealthCheck = now.Revision, now.HealthCheck
	return reflect.DeepEqual(old, now)
}

func readNow(r *mirrortest.Rig) *state.State {
	r.T.Helper()
	s, err := state.Read(r.Path)
	if err != nil {
		r.T.Fatal(err)
	}
	return s
}

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

	"github.com/docker-rd/docker-rd/internal/oracle"
	"github.com/docker-rd/docker-rd/internal/realengine"
	"github.com/docker-rd/docker-rd/mirror"
)

var (
	oracleOps    = flag.Int("oracle.ops", 150, "operations of the oracle test")
	oracleSeed   = flag.Uint64("oracle.seed", 0, "seed of the oracle test, or 0 for a random one")
	oracleSocket = flag.String("oracle.socket", "", "socket of an engine of yours to use instead of a private dockerd; everything in it is fair game")
	oracleArgs   = flag.String("oracle.dockerd", "", "more arguments for the private dockerd, which is the one on the PATH")
	oracleLog    = flag.Bool("oracle.log", false, "log every operation")
)

// settleTime is how soon after the last change in the engine the file must equal it.
const settleTime = 2 * time.Second

// Random operations on a real engine, by several clients at once, with the engine
// killed, the connection cut or stalled and the supervisor killed in between: when
// the engine is quiet, the file equals it.
func TestOracle(t *testing.T) {
	ctx := context.Background()
	dir := shortDir(t)
	seed := *oracleSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("to repeat: -oracle.seed=%d -oracle.ops=%d", seed, *oracleOps)
	rng := rand.New(rand.NewPCG(seed, 0))

	socket := *oracleSocket
	var engine *realengine.Dockerd
	if socket == "" {
		realengine.Need(t)
		var err error
		engine, err = realengine.StartDockerd(ctx, filepath.Join(dir, "d"), strings.Fields(*oracleArgs)...)
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := engine.Close(); err != nil {
				t.Error(err)
			}
		}()
		socket = engine.Socket
	}
	rootfs, err := realengine.RootFS(dir)
	if err != nil {
		t.Fatal(err)
	}
	proxy, err := realengine.NewProxy(filepath.Join(dir, "p.sock"), socket)
	if err != nil {
		t.Fatal(err)
	}
	defer proxy.Close()

	const clients = 3
	var drivers []*oracle.Driver
	for i := range clients {
		cli, err := connectTo("unix://" + socket)(ctx)
		if err != nil {
			t.Fatal(err)
		}
		defer cli.Close()
		d := oracle.NewDriver(cli.Client, seed, uint64(i+1), rootfs)
		if *oracleLog {
			d.Log = func(format string, args ...any) { t.Logf("%d "+format, append([]any{i}, args...)...) }
		}
		drivers = append(drivers, d)
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

	opts := mirror.SourceOptions{Connect: connectTo("unix://" + proxy.Socket), Log: slog.New(slog.NewTextHandler(t.Output(), nil))}
	r := newRigOf(t, dir, socket, opts)
	stop := r.start()
	defer func() { stop() }()

	const batch = 25
	for done := 0; done < *oracleOps; done += batch {
		quiet := rng.IntN(2) == 0
		for _, d := range drivers {
			d.Quiet, d.Silent = quiet, false
		}
		over := make(chan struct{})
		go func() {
			defer close(over)
			oracle.Drive(ctx, drivers, batch)
		}()
		fault := rng.IntN(6)
		switch {
		case fault == 0 && engine != nil:
			t.Logf("after %d operations: the engine is killed", done)
			engine.Kill([]string{"KILL", "TERM"}[rng.IntN(2)])
			if err := engine.Start(ctx); err != nil {
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
			r = r.again()
			stop = r.start()
		}
		<-over
		silent := !quiet
		for _, d := range drivers {
			silent = silent || d.Silent
		}
		when := fmt.Sprintf("after %d operations", done+batch)
		if err := r.oracleAnswers(ctx); err != nil && engine != nil {
			// Debian's 20.10 can lock itself up, as with a container that is paused
			// while the kernel kills it. The mirror sees it through.
			t.Logf("%s: the engine hangs and is killed: %v", when, err)
			engine.Kill("KILL")
			if err := engine.Start(ctx); err != nil {
				t.Fatal(err)
			}
		}
		r.settles(silent, when)
		if t.Failed() {
			break
		}
	}
	for _, op := range slices.Sorted(maps.Keys(drivers[0].Done)) {
		n, failed := 0, 0
		for _, d := range drivers {
			n += d.Done[op]
			failed += d.Failed[op]
		}
		t.Logf("%-16s %5d, refused by the engine %d", op, n, failed)
	}
	if content, err := os.ReadFile(r.path); err != nil || strings.Contains(string(content), "oracle-secret") {
		t.Errorf("the environment is in the state file, or it can't be read: %v", err)
	}
}

func (r *rig) oracleAnswers(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	_, err := r.oracle.Expect(ctx)
	return err
}

// settles fails the test unless the file equals the engine soon after the engine is
// quiet. Where something happened that the engine tells nobody of, it may take a sync.
func (r *rig) settles(silent bool, when string) {
	r.t.Helper()
	var last oracle.Objects
	var diffs []string
	since, asked := time.Now(), false
	for begin := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		want, err := r.oracle.Expect(ctx)
		cancel()
		if err != nil {
			r.t.Fatalf("%s: ask the engine: %v", when, err)
		}
		if !reflect.DeepEqual(want, last) {
			last, since = want, time.Now()
		}
		r.validate()
		content, err := os.ReadFile(r.path)
		if err != nil {
			r.t.Fatal(err)
		}
		if diffs, err = oracle.Differences(content, want); err != nil {
			r.t.Fatal(err)
		}
		if len(diffs) == 0 && (asked || !silent) {
			return
		}
		switch quiet := time.Since(since); {
		case quiet > settleTime:
			r.t.Errorf("%s the file differs from the engine:\n%s", when, strings.Join(diffs, "\n"))
			return
		case time.Since(begin) > 3*patience:
			r.t.Fatalf("%s the engine is never quiet", when)
		case silent && !asked:
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			if err := r.source.Sync(ctx); err != nil {
				r.t.Errorf("%s: sync: %v", when, err)
			}
			cancel()
			asked, since = true, time.Now()
		}
	}
}

package configfile

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/docker-rd/docker-rd/internal/test/wine"
)

// runChild updates path in a process of its own and returns the fault points it passed
// and whether it was killed.
func runChild(t *testing.T, path string, env ...string) (points []string, killed bool) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), append(env, envChild+"="+path, "GORACE=atexit_sleep_ms=0")...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		died := cmd.ProcessState != nil && (!cmd.ProcessState.Exited() ||
			runtime.GOOS == "windows" && stderr.Len() == 0) // there who is killed exits, with the status 1
		if !died {
			t.Fatalf("child: %v: %s", err, stderr.String())
		}
		killed = true
	}
	return strings.Split(strings.TrimSpace(string(out)), "\n"), killed
}

// TestKill kills a process at every fault point, with foreign writes at every earlier
// one and without, and looks at what the next command finds.
func TestKill(t *testing.T) {
	const before, theirs = `{"auths":{}}`, `{"auths":{"theirs":{}},"unknown":1}`
	for _, leases := range []string{"yes", "no"} {
		t.Run("leases="+leases, func(t *testing.T) {
			// writeAt 0 is no foreign write. Every write makes a run longer, so the end is
			// where the process has come through.
			for writeAt := 0; ; writeAt++ {
				reached := false
				for killAt := max(1, writeAt); ; killAt++ {
					path := filepath.Join(t.TempDir(), "config.json")
					write(t, path, before)
					points, killed := runChild(t, path, envKill+"="+strconv.Itoa(killAt),
						fmt.Sprintf("%s=%d=%s", envWrites, writeAt, theirs), envLeases+"="+leases)
					reached = reached || writeAt == 0 || len(points) >= writeAt
					if !killed {
						break
					}
					where := fmt.Sprintf("write at %d, killed at %d (%s)", writeAt, killAt, points[len(points)-1])
					if err := Recover(context.Background(), path); err != nil {
						t.Fatalf("%s: %v", where, err)
					}
					onlyFile(t, where, path)
					got := read(t, path)
					want := before
					if writeAt > 0 {
						want = theirs
					}
					// The change itself may be there or not.
					if with, _ := edit(want, "rd"); got != want && got != with {
						t.Fatalf("%s: the file is\n%s\nwant, with or without our key,\n%s", where, got, want)
					}
					// And what was begun can be done.
					if _, err := Update(context.Background(), path, to("rd")); err != nil {
						t.Fatalf("%s: %v", where, err)
					}
					checkEdit(t, want, read(t, path), "rd")
					onlyFile(t, where, path)
				}
				if !reached {
					break
				}
			}
		})
	}
}

// TestKillTwice: a second write comes on top of the first before anybody tidies up.
func TestKillTwice(t *testing.T) {
	const before, theirs = `{"auths":{}}`, `{"auths":{"a":{}}}`
	points := func(path string) (compared int) {
		all, _ := runChild(t, path)
		for i, p := range all {
			if p == "compared" {
				return i + 1
			}
		}
		t.Fatalf("no point where the file was compared: %v", all)
		return 0
	}
	for _, tc := range []struct {
		name, then string
		rescued    bool
	}{
		{"it has all of the first", `{"auths":{"a":{},"b":{}}}`, false},
		{"it lacks the first", `{"auths":{"b":{}},"currentContext":"rd"}`, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "config.json")
			write(t, path, before)
			compared := points(path)
			write(t, path, before)
			if _, killed := runChild(t, path, fmt.Sprintf("%s=%d=%s", envWrites, compared, theirs),
				envKill+"="+strconv.Itoa(compared+1)); !killed {
				t.Fatal("the child was not killed")
			}
			if err := writeAsDocker(path, tc.then); err != nil {
				t.Fatal(err)
			}
			if !has(Check(path), Interrupted) {
				t.Error("Check does not see that a process was killed")
			}
			if err := Recover(context.Background(), path); err != nil {
				t.Fatal(err)
			}
			if got := read(t, path); got != tc.then {
				t.Errorf("the newest write is gone: %s", got)
			}
			if has(Check(path), Rescued) != tc.rescued || has(Check(path), Interrupted) {
				t.Errorf("Check finds %v", Check(path))
			}
			if !tc.rescued {
				onlyFile(t, tc.name, path)
			} else if got := read(t, path+rescuedSuffix); got != theirs {
				t.Errorf("kept is %s, want %s", got, theirs)
			}
		})
	}
}

// TestForeignWrites lets somebody else write at every fault point, and at every two.
func TestForeignWrites(t *testing.T) {
	const before, first, second = `{"auths":{}}`, `{"auths":{"first":{}}}`, "{\n \"auths\":{\"second\":{}}\n}"
	defer func() { fault = noFault }()
	eachWay(t, func(t *testing.T) {
		longest := 30
		for i := 1; i <= longest; i++ {
			for j := i; j <= longest; j++ {
				path := filepath.Join(t.TempDir(), "config.json")
				write(t, path, before)
				n, last := 0, before
				fault = func(string) {
					n++
					content := ""
					switch n {
					case i:
						content = first
					case j:
						content = second
					default:
						return
					}
					last = content
					if err := writeAsDocker(path, content); err != nil {
						t.Fatal(err)
					}
				}
				_, err := Update(context.Background(), path, to("rd"))
				fault = noFault
				if err != nil {
					t.Fatalf("writes at %d and %d: %v", i, j, err)
				}
				got := read(t, path)
				if with, _ := edit(last, "rd"); got != last && got != with {
					t.Fatalf("writes at %d and %d of %d: the file is %s, want %s", i, j, n, got, last)
				}
				onlyFile(t, fmt.Sprintf("writes at %d and %d", i, j), path)
				if j > n {
					break
				}
			}
			if n := i; n > longest {
				break
			}
		}
	})
}

// TestChoiceStands: what somebody chooses while we write is what decide gets to see.
func TestChoiceStands(t *testing.T) {
	defer func() { fault = noFault }()
	for _, theirs := range []string{
		`{"currentContext":"other"}`,
		"{\"currentContext\":\"other\",",             // broken: put back as it is
		"\xef\xbb\xbf{\"currentContext\":\"other\"}", // refused as well
	} {
		eachWay(t, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "config.json")
			write(t, path, `{"currentContext":"gone"}`)
			fault = func(point string) {
				if point == "compared" {
					if err := writeAsDocker(path, theirs); err != nil {
						t.Fatal(err)
					}
				}
			}
			changed, err := Update(context.Background(), path, func(current Value) (Value, bool) {
				return Value{Name: "rd"}, current.Name == "gone"
			})
			if changed {
				t.Error("Update says that it has changed what it left")
			}
			if valid := strings.HasPrefix(theirs, "{") && strings.HasSuffix(theirs, "}"); (err == nil) != valid {
				t.Errorf("%q: error %v", theirs, err)
			}
			if got := read(t, path); got != theirs {
				t.Errorf("the file is %q, want %q", got, theirs)
			}
			onlyFile(t, theirs, path)
		})
	}
}

// TestDisplacedOddities: somebody puts in place what can't be carried on.
func TestDisplacedOddities(t *testing.T) {
	wine.Skip(t)
	defer func() { fault = noFault }()
	eachWay(t, func(t *testing.T) {
		dir := t.TempDir()
		path, elsewhere := filepath.Join(dir, "config.json"), filepath.Join(t.TempDir(), "real.json")
		write(t, path, `{}`)
		write(t, elsewhere, `{"x":1}`)
		once := true
		fault = func(point string) {
			if point == "compared" && once {
				once = false
				if err := os.Remove(path); err != nil {
					t.Fatal(err)
				}
				if err := os.Symlink(elsewhere, path); err != nil {
					t.Fatal(err)
				}
			}
		}
		if changed, err := Update(context.Background(), path, to("rd")); err != nil || !changed {
			t.Fatalf("Update = %t, %v", changed, err)
		}
		if link, err := os.Readlink(path); err != nil || link != elsewhere {
			t.Errorf("the link is gone: %q, %v", link, err)
		}
		if got, want := read(t, elsewhere), `{"x":1,"currentContext":"rd"}`; got != want {
			t.Errorf("behind the link is %s, want %s", got, want)
		}
		onlyFile(t, "link", path)
	})
}

// TestRemovedMeanwhile: somebody removes the file while we write.
func TestRemovedMeanwhile(t *testing.T) {
	defer func() { fault = noFault }()
	for n := 1; n < 12; n++ {
		path := filepath.Join(t.TempDir(), "config.json")
		write(t, path, `{"x":1}`)
		i := 0
		fault = func(string) {
			if i++; i == n {
				_ = os.Remove(path)
			}
		}
		if _, err := Update(context.Background(), path, to("rd")); err != nil {
			t.Fatalf("removed at %d: %v", n, err)
		}
		if got, err := os.ReadFile(path); err == nil {
			checkEdit(t, string(got), string(got), "rd")
		}
		entries, err := os.ReadDir(filepath.Dir(path))
		if err != nil || len(entries) > 1 {
			t.Fatalf("removed at %d: left are %v, %v", n, entries, err)
		}
	}
}

// TestCannotSettle: the change can't be made again on what somebody has written; that
// gets back in place.
func TestCannotSettle(t *testing.T) {
	wine.Skip(t)
	defer func() { fault = noFault }()
	path := filepath.Join(t.TempDir(), "config.json")
	const theirs = `{"theirs":1}`
	write(t, path, `{}`)
	fault = func(point string) {
		switch point {
		case "compared":
			if err := writeAsDocker(path, theirs); err != nil {
				t.Fatal(err)
			}
		case "exchanged":
			write(t, tempName(path, 2), "in the way")
		}
	}
	if changed, err := Update(context.Background(), path, to("rd")); changed || err == nil {
		t.Fatalf("Update = %t, %v, want an error", changed, err)
	}
	if got := read(t, path); got != theirs {
		t.Errorf("the file is %s, want %s", got, theirs)
	}
	fault = noFault
	if changed, err := Update(context.Background(), path, to("rd")); !changed || err != nil {
		t.Fatalf("the next Update = %t, %v", changed, err)
	}
	checkEdit(t, theirs, read(t, path), "rd")
	onlyFile(t, "settled", path)
}

// TestStuck: what somebody has written can't even be put back; the next command does.
func TestStuck(t *testing.T) {
	defer func() { fault, exchangeFiles = noFault, exchange }()
	withoutLeases(t)
	path := filepath.Join(t.TempDir(), "config.json")
	const theirs = `{"theirs":1}`
	write(t, path, `{}`)
	broken := errors.New("broken disk")
	fault = func(point string) {
		switch point {
		case "compared":
			if err := writeAsDocker(path, theirs); err != nil {
				t.Fatal(err)
			}
		case "exchanged":
			exchangeFiles = func(string, string) error { return broken }
		}
	}
	if changed, err := Update(context.Background(), path, to("rd")); changed || !errors.Is(err, broken) {
		t.Fatalf("Update = %t, %v, want %v", changed, err, broken)
	}
	fault = noFault
	if err := Recover(context.Background(), path); !errors.Is(err, broken) {
		t.Errorf("Recover = %v, want %v", err, broken)
	}
	exchangeFiles = exchange
	if err := Recover(context.Background(), path); err != nil {
		t.Fatal(err)
	}
	if got := read(t, path); got != theirs {
		t.Errorf("the file is %s, want %s", got, theirs)
	}
	onlyFile(t, "recovered", path)
}

// TestKillWhileRecovering kills a process that finishes what a killed one has left, at
// every fault point.
func TestKillWhileRecovering(t *testing.T) {
	const theirs = `{"theirs":1}`
	for _, leases := range []string{"yes", "no"} {
		for killAt := 1; ; killAt++ {
			path := filepath.Join(t.TempDir(), "config.json")
			write(t, path, `{}`)
			points, _ := runChild(t, path)
			compared, exchanged := slices.Index(points, "compared")+1, slices.Index(points, "exchanged")+1
			if exchanged == 0 {
				t.Fatalf("no exchange: %v", points)
			}
			write(t, path, `{}`)
			runChild(t, path, fmt.Sprintf("%s=%d=%s", envWrites, compared, theirs), envKill+"="+strconv.Itoa(exchanged))
			if got := read(t, path); got == theirs {
				t.Fatal("their write was not displaced, so there is nothing to recover")
			}
			points, killed := runChild(t, path, envKill+"="+strconv.Itoa(killAt), envLeases+"="+leases)
			if !killed {
				break
			}
			where := fmt.Sprintf("leases %s, killed at %d (%s)", leases, killAt, points[len(points)-1])
			if err := Recover(context.Background(), path); err != nil {
				t.Fatalf("%s: %v", where, err)
			}
			onlyFile(t, where, path)
			if got, with := read(t, path), `{"theirs":1,"currentContext":"rd"}`; got != theirs && got != with {
				t.Fatalf("%s: the file is %s", where, got)
			}
		}
	}
}

// TestExchangeOfTwoSteps: where an exchange takes two steps, it can end between them.
func TestExchangeOfTwoSteps(t *testing.T) {
	const before, ours, theirs = `{}`, `{"currentContext":"rd"}`, `{"theirs":1}`
	for _, tc := range []struct {
		name                    string
		target, temp, old, want string // contents, "" for a missing file
		rescued                 string
	}{
		{name: "killed in between", target: ours, old: before, want: ours},
		{name: "killed in between, and somebody had written", target: ours, old: theirs, want: theirs},
		{name: "only the first half was done", temp: ours, old: before, want: before},
		{name: "only the first half was done, then somebody has written", target: theirs, temp: ours, old: `{"x":1}`, want: theirs, rescued: `{"x":1}`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "config.json")
			j, err := openJournal(t.Context(), path)
			if err != nil {
				t.Fatal(err)
			}
			if err := j.add(entry{Ours: sum([]byte(ours)), Expected: sum([]byte(before))}); err != nil {
				t.Fatal(err)
			}
			j.leave()
			for name, content := range map[string]string{path: tc.target, tempName(path, 1): tc.temp, tempName(path, 1) + backupSuffix: tc.old} {
				if content != "" {
					write(t, name, content)
				}
			}
			if err := Recover(t.Context(), path); err != nil {
				t.Fatal(err)
			}
			if got := read(t, path); got != tc.want {
				t.Errorf("the file is %s, want %s", got, tc.want)
			}
			if tc.rescued != "" {
				if got := read(t, path+rescuedSuffix); got != tc.rescued {
					t.Errorf("kept is %s, want %s", got, tc.rescued)
				}
				return
			}
			onlyFile(t, tc.name, path)
		})
	}

	// The second step fails: what was displaced is not thrown away.
	withoutLeases(t)
	defer func() { fault, exchangeFiles = noFault, exchange }()
	busy := errors.New("in use")
	exchangeFiles = func(a, b string) error {
		if err := os.Rename(b, a+backupSuffix); err != nil {
			return err
		}
		return errors.Join(os.Rename(a, b), busy)
	}
	path := filepath.Join(t.TempDir(), "config.json")
	write(t, path, before)
	fault = func(point string) {
		if point == "compared" {
			if err := writeAsDocker(path, theirs); err != nil {
				t.Fatal(err)
			}
		}
	}
	if changed, err := Update(t.Context(), path, to("rd")); changed || !errors.Is(err, busy) {
		t.Fatalf("Update = %t, %v, want %v", changed, err, busy)
	}
	fault, exchangeFiles = noFault, exchange
	if err := Recover(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	if got := read(t, path); got != theirs {
		t.Errorf("the file is %s, want %s", got, theirs)
	}
	onlyFile(t, "recovered", path)
}

package namespaces

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"strings"

	"github.com/docker-rd/docker-rd/internal/programs"
)

// A Range is a range of the host's user or group ids that are subordinate to a user (subuid(5),
// subgid(5)).
type Range struct{ Start, Count uint32 }

// End returns the first id behind the range.
func (r Range) End() uint64 { return uint64(r.Start) + uint64(r.Count) }

// Overlaps reports whether an id is in both ranges.
func (r Range) Overlaps(o Range) bool {
	return uint64(r.Start) < o.End() && uint64(o.Start) < r.End()
}

// An IDMap is the ids of a user namespace: 0 is the user; the ranges follow from 1 on.
type IDMap struct{ UIDs, GIDs []Range }

// Needed is the number of ids that images use: 0 to 65535.
const Needed = 65536

// FilesSource says that the ranges are in /etc/subuid and /etc/subgid.
const FilesSource = "files"

// IDSource is where the system keeps the ranges: in files, or a service that nsswitch.conf(5) names.
func IDSource() string {
	data, _ := os.ReadFile("/etc/nsswitch.conf")
	for line := range strings.Lines(string(data)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "subid:" {
			return f[1]
		}
	}
	return FilesSource
}

// Count returns the number of ids in the ranges.
func Count(ranges []Range) (n uint64) {
	for _, r := range ranges {
		n += uint64(r.Count)
	}
	return n
}

// OwnMap returns the ranges of the current user, which may be none.
func OwnMap() (IDMap, error) {
	u, err := user.Current()
	if err != nil {
		return IDMap{}, fmt.Errorf("who is the user: %w", err)
	}
	var m IDMap
	if m.UIDs, err = rangesOf(u, "/etc/subuid"); err == nil {
		m.GIDs, err = rangesOf(u, "/etc/subgid", "-g")
	}
	return m, err
}

// rangesOf reads the file, where the system keeps the ranges in files, else asks the program
// getsubids.
func rangesOf(u *user.User, file string, option ...string) ([]Range, error) {
	if IDSource() == FilesSource {
		all, err := ReadSubordinates(file)
		var own []Range
		for _, s := range all {
			if s.Of(u) {
				own = append(own, s.Range)
			}
		}
		return own, err
	}
	path, err := programs.Find("getsubids")
	if err != nil {
		return nil, err
	}
	out, err := exec.Command(path, append(option, u.Username)...).Output()
	if _, ok := errors.AsType[*exec.ExitError](err); ok {
		return nil, nil // he has none
	}
	return parseGetsubids(string(out)), err
}

// parseGetsubids parses lines of "0: USER 100000 65536".
func parseGetsubids(out string) (ranges []Range) {
	for line := range strings.Lines(out) {
		if f := strings.Fields(line); len(f) == 4 {
			if r, ok := parseRange(f[2], f[3]); ok {
				ranges = append(ranges, r)
			}
		}
	}
	return ranges
}

// A Subordinate is a line of subuid(5) or subgid(5): a range, and whose it is.
type Subordinate struct {
	User string // a name or a number
	Range
}

// Of reports whether the range is the user's.
func (s Subordinate) Of(u *user.User) bool { return s.User == u.Username || s.User == u.Uid }

// ReadSubordinates reads the file, which need not exist. It leaves out lines that give nobody ids.
func ReadSubordinates(file string) (all []Subordinate, err error) {
	data, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	for line := range strings.Lines(string(data)) {
		if f := strings.Split(strings.TrimSpace(line), ":"); len(f) == 3 {
			if r, ok := parseRange(f[1], f[2]); ok {
				all = append(all, Subordinate{f[0], r})
			}
		}
	}
	return all, nil
}

func parseRange(start, count string) (Range, bool) {
	s, err := strconv.ParseUint(start, 10, 32)
	n, err2 := strconv.ParseUint(count, 10, 32)
	return Range{uint32(s), uint32(n)}, err == nil && err2 == nil && n > 0
}

// MapError is what newuidmap or newgidmap says where it refuses.
type MapError struct{ Program, Text string }

func (e *MapError) Error() string { return e.Program + ": " + e.Text }

// write sets the map of the user namespace of a process.
func (m IDMap) write(pid int) error {
	for _, p := range []struct {
		program string
		own     int
		ranges  []Range
	}{{"newuidmap", os.Getuid(), m.UIDs}, {"newgidmap", os.Getgid(), m.GIDs}} {
		path, err := programs.Find(p.program)
		if err != nil {
			return err
		}
		args := append([]string{strconv.Itoa(pid)}, mapArgs(p.own, p.ranges)...)
		if out, err := exec.Command(path, args...).CombinedOutput(); err != nil {
			text := string(bytes.TrimSpace(out))
			if text == "" {
				text = err.Error()
			}
			return &MapError{p.program, strings.TrimPrefix(text, p.program+": ")}
		}
	}
	return nil
}

// mapArgs are the lines of the map: the first id inside, the first outside, the count.
func mapArgs(own int, ranges []Range) []string {
	args := []string{"0", strconv.Itoa(own), "1"}
	next := uint64(1)
	for _, r := range ranges {
		args = append(args, fmt.Sprint(next), fmt.Sprint(r.Start), fmt.Sprint(r.Count))
		next += uint64(r.Count)
	}
	return args
}

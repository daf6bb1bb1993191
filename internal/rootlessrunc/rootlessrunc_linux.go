// Package rootlessrunc is the program that an ordinary user's containerd runs instead of runc.
//
// Clients of containerd ask for a control group for each container, which an ordinary user can't
// make: runc would refuse that. This program takes that wish out of the specification, and becomes
// runc. A limit stays, and runc says that it can't be set.
package rootlessrunc

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
)

// Name is the name of the program, by which containerd's shims find it.
const Name = "runc"

// Program becomes runc, with the arguments of this process.
func Program() {
	err := prepare(os.Args[1:])
	if err == nil {
		err = become()
	}
	_, _ = fmt.Fprintln(os.Stderr, "docker rd:", err)
	os.Exit(1)
}

// become replaces this process by the next runc on the PATH.
func become() error {
	self, err := os.Stat("/proc/self/exe")
	if err != nil {
		return err
	}
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		path, err := exec.LookPath(filepath.Join(dir, Name))
		if err != nil {
			continue
		}
		if info, err := os.Stat(path); err == nil && !os.SameFile(info, self) {
			return &os.PathError{Op: "exec", Path: path, Err: syscall.Exec(path, os.Args, os.Environ())}
		}
	}
	return &exec.Error{Name: Name, Err: exec.ErrNotFound}
}

// prepare changes the specification of a container that is to be created.
func prepare(args []string) error {
	i := slices.Index(args, "--bundle")
	if i < 0 || i+1 == len(args) {
		return nil
	}
	path := filepath.Join(args[i+1], "config.json")
	data, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil // runc says so
	}
	if err != nil {
		return err
	}
	changed, err := withoutGroup(data)
	if err != nil {
		return fmt.Errorf("%q: %w", path, err)
	}
	return os.WriteFile(path, changed, 0o600)
}

// defaultShares is the weight that a group has anyway.
const defaultShares = json.Number("1024")

// withoutGroup returns a specification without its control group, and without what every
// specification has of it: rules for devices, which a user can't make either, and the default
// weight.
func withoutGroup(spec []byte) ([]byte, error) {
	var all map[string]any
	d := json.NewDecoder(bytes.NewReader(spec))
	d.UseNumber() // what is not changed stays as it is
	if err := d.Decode(&all); err != nil {
		return nil, err
	}
	linux := object(all, "linux")
	delete(linux, "cgroupsPath")
	resources := object(linux, "resources")
	delete(resources, "devices")
	if cpu := object(resources, "cpu"); cpu["shares"] == defaultShares {
		delete(cpu, "shares")
	}
	return json.Marshal(all)
}

// object returns a field that is a JSON object, nil if it is not there.
func object(of map[string]any, name string) map[string]any {
	o, _ := of[name].(map[string]any)
	return o
}

package namespaces

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/docker-rd/docker-rd/engine/processes"
	"github.com/docker-rd/docker-rd/internal/files"
	"github.com/docker-rd/docker-rd/internal/process"
	"github.com/docker-rd/docker-rd/internal/programs"
)

// A Launch says how a daemon's process is made.
type Launch struct {
	Plan // for the helper; Start fills in what depends on the namespaces

	Processes   processes.Engine      // whose it is
	Hierarchies processes.Hierarchies // where its control groups are made
	Exit        *os.File              // the write end of the exit pipe
	Log         *os.File              // the daemon's output; nil: none
	Into        *process.ID           // enter the namespaces of this process; nil: make new ones
	IDs         IDMap                 // the ids in the user namespace, where Plan.User is not nil
}

// Start starts the helper, in new namespaces or to enter existing ones. It does not run the
// plan yet: see [Helper.Run].
func (l *Launch) Start() (*Helper, error) {
	env := []string{processes.MarkerEnv + "=" + l.Processes.UID}
	if l.User != nil { // the pid namespace ends with the helper
		return startUserHelper(l.IDs, l.Exit, &syscall.SysProcAttr{Setsid: true, Cloneflags: userFlags}, env, l.Log)
	}
	if l.Into == nil {
		attr := &syscall.SysProcAttr{Setsid: true, Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS}
		return l.startIn(helperArgs(initArg), []*os.File{l.Exit}, attr, env)
	}
	l.Inside, l.Sysctls, l.Run = true, nil, nil
	argv, files, err := entrance(*l.Into)
	if err != nil {
		return nil, err
	}
	defer CloseAll(files)
	h, err := l.startIn(argv, append([]*os.File{l.Exit}, files...), &syscall.SysProcAttr{Setsid: true}, env)
	if err == nil && !l.Into.Alive() { // another process may have the pid
		return nil, errors.Join(process.ErrGone, h.Abort())
	}
	return h, err
}

// startIn starts the helper in the engine's control groups, or so that it moves there.
func (l *Launch) startIn(argv []string, files []*os.File, attr *syscall.SysProcAttr, env []string) (h *Helper, err error) {
	now := l.Hierarchies
	bornIn := now.V2 != "" && !l.OwnRoots
	if bornIn {
		now.V1 = nil // the daemon is moved to these later
	}
	groups, err := l.Processes.MakeGroups(now)
	if err != nil {
		return nil, err
	}
	if bornIn { // to move a process there later takes the kernel 10 ms or more
		group, err := os.Open(groups[0])
		if err != nil {
			return nil, err
		}
		defer group.Close()
		in := *attr
		in.UseCgroupFD, in.CgroupFD = true, int(group.Fd())
		h, err := startHelper(argv, files, &in, env, l.Log)
		// Before Linux 5.7 processes can only move.
		if !errors.Is(err, unix.ENOSYS) && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.E2BIG) {
			return h, err
		}
	}
	l.Cgroups = groups
	return startHelper(argv, files, attr, env, l.Log)
}

// startUserHelper starts the helper in a user namespace with the ids. Exit may be nil.
func startUserHelper(ids IDMap, exit *os.File, attr *syscall.SysProcAttr, env []string, log *os.File) (*Helper, error) {
	alone := len(ids.UIDs) == 0 && len(ids.GIDs) == 0
	if alone { // without the help of newuidmap
		attr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
	}
	h, err := startHelper(helperArgs(userArg), []*os.File{exit}, attr, env, log)
	if err != nil || alone {
		return h, err
	}
	if err := ids.write(h.ID.PID); err != nil {
		return nil, errors.Join(err, h.Abort())
	}
	return h, nil
}

// userFlags are the namespaces of an ordinary user's engine.
const userFlags = unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWPID | unix.CLONE_NEWIPC

// ExitPipe makes an engine's exit pipe, or opens that of the process into. The caller closes both
// ends.
func ExitPipe(into *process.ID) (r, w *os.File, err error) {
	if into == nil {
		return os.Pipe()
	}
	if r, err = exitPipeOf(*into); err != nil {
		return nil, nil, err
	}
	if w, err = os.OpenFile(exitPath(*into), os.O_WRONLY, 0); err != nil {
		_ = r.Close()
		return nil, nil, err
	}
	return r, w, nil
}

// Rebind mounts missing binds in the namespaces of the running engine. Where ctx ends first, some
// may be mounted.
func (e Engine) Rebind(ctx context.Context, engine process.ID, binds []Bind) error {
	var missing []Bind
	for _, b := range binds {
		inside := Inside(engine.PID, b.Target)
		if b.Source != b.Target && !sameFile(b.Source, inside) && !(b.Optional && !files.Exists(inside)) {
			missing = append(missing, b)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	_, err := e.enter(ctx, engine, Plan{Binds: missing})
	return err
}

// Inside returns the path here of what a path is to another process. Links are resolved first: an
// absolute one would lead to this process's own files.
func Inside(pid int, path string) string {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	return fmt.Sprintf("/proc/%d/root%s", pid, path)
}

// Sync makes a running engine's /run follow the host's.
func (r *Run) Sync(engine process.ID) error {
	return r.sync(Inside(engine.PID, runDir), runDir)
}

// SetRules sets packet filter rules in the namespaces of the running engine.
func (e Engine) SetRules(ctx context.Context, engine process.ID, rules *Rules) error {
	_, err := e.enter(ctx, engine, Plan{Rules: rules})
	return err
}

// RemoveBridge removes the bridge of a name, if there is one, from the running engine's network
// namespace.
func (e Engine) RemoveBridge(ctx context.Context, engine process.ID, name string) error {
	_, err := e.enter(ctx, engine, Plan{RemoveBridge: name})
	return err
}

// enter carries out a plan in the namespaces of the running engine and returns its sockets.
func (e Engine) enter(ctx context.Context, engine process.ID, p Plan) ([]*os.File, error) {
	var options []string
	if e.User {
		options = []string{"--user", "--preserve-credentials", "--pid"}
	}
	argv, files, err := entrance(engine, options...)
	if err != nil {
		return nil, err
	}
	defer CloseAll(files)
	h, err := startHelper(argv, append([]*os.File{nil}, files...), &syscall.SysProcAttr{Setsid: true}, []string{processes.MarkerEnv + "=" + e.UID}, nil)
	if err != nil {
		return nil, err
	}
	if !engine.Alive() { // another process may have the pid
		return nil, errors.Join(process.ErrGone, h.Abort())
	}
	p.Inside = true
	err = h.Run(ctx, p)
	<-h.Exited
	return h.Sockets, err
}

// entrance returns the command of a helper for the namespaces of a running engine, and its files
// from selfFD on. A program with several threads can't enter all namespaces: nsenter runs it there.
func entrance(engine process.ID, options ...string) (argv []string, files []*os.File, err error) {
	nsenter, err := programs.Find("nsenter")
	if err != nil {
		return nil, nil, err
	}
	self, err := os.Open("/proc/self/exe") // its path may lead elsewhere in there
	if err != nil {
		return nil, nil, err
	}
	files, err = openNamespaces(engine, "cgroup")
	if err != nil {
		_ = self.Close()
		return nil, nil, err
	}
	argv = append([]string{nsenter, fmt.Sprintf("--target=%d", engine.PID), "--mount", "--net"}, options...)
	return append(argv, fmt.Sprintf("/proc/self/fd/%d", selfFD), initArg), append([]*os.File{self}, files...), nil
}

// sameFile reports whether both paths lead to one file.
func sameFile(a, b string) bool {
	x, err := os.Stat(a)
	y, err2 := os.Stat(b)
	return errors.Join(err, err2) == nil && os.SameFile(x, y)
}

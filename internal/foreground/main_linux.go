package foreground

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/docker-rd/docker-rd/internal/failure"
)

// Main is the program behind [ExecArg].
func Main(dir string, command []string) {
	_ = os.Chdir(dir)
	const pidNamespace = 3
	// Only this thread has its children there: Go makes no thread from one that is locked.
	runtime.LockOSThread()
	err := os.NewSyscallError("setns", unix.Setns(pidNamespace, unix.CLONE_NEWPID))
	_ = unix.Close(pidNamespace)
	status := failure.CodeNotRunnable
	if err == nil {
		status, err = Run(context.Background(), exec.Command(command[0], command[1:]...))
	}
	if err != nil {
		_, _ = fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(status)
}

package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// hungFS runs the command of its further arguments in a mount namespace of its own, where
// the directory of the first one is a file system that never answers. Both end with it.
func hungFS() {
	if err := runWithHungFS(os.Args[1], os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func runWithHungFS(dir string, command []string) error {
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("unshare: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make / private: %w", err)
	}
	// Nobody reads what the kernel asks of the file system.
	fuse, err := os.OpenFile("/dev/fuse", os.O_RDWR|syscall.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer fuse.Close()
	options := "fd=" + strconv.Itoa(int(fuse.Fd())) + ",rootmode=40000,user_id=0,group_id=0,allow_other"
	if err := unix.Mount("hung", dir, "fuse", 0, options); err != nil {
		return fmt.Errorf("mount: %w", err)
	}
	cmd := exec.Command(command[0], command[1:]...) // by this thread, and so in its namespace
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	return cmd.Run()
}

package lima

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/docker-rd/docker-rd/internal/failure"
	"github.com/docker-rd/docker-rd/internal/files"
	"github.com/docker-rd/docker-rd/internal/session"
)

const (
	// minVersion is the first major version of Lima with the template names that are used here.
	minVersion = 2
	// maxSocket is the longest path of a unix socket on macOS. ssh makes one with a random suffix
	// in the machine's directory, and limactl refuses longer ones.
	maxSocket = 103
	longest   = "ssh.sock.0123456789abcdef"
	// versionTimeout bounds the question for limactl's version.
	versionTimeout = 10 * time.Second
)

// Check returns everything that prevents a start of the machine here, each with a hint. It changes
// nothing.
func (c *Config) Check() []error {
	errs := []error{checkLimactl(), c.checkPath(), c.checkTemplate()}
	if _, err := exec.LookPath("ssh"); err != nil {
		errs = append(errs, failure.WithHint(fmt.Errorf("driver \"lima\": %w", err), "`sudo apt-get install openssh-client`"))
	}
	if runtime.GOOS == "linux" {
		errs = append(errs, checkQEMU()...)
	}
	var found []error
	for _, err := range errs {
		if err != nil {
			found = append(found, err)
		}
	}
	return found
}

const getLima = "`brew install lima`, or see https://lima-vm.io/docs/installation/"

func checkLimactl() error {
	ctx, cancel := context.WithTimeout(context.Background(), versionTimeout)
	defer cancel()
	out, err := exec.CommandContext(ctx, "limactl", "--version").CombinedOutput() // "limactl version 2.2.0"
	said := strings.TrimSpace(string(out))
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return failure.WithHint(fmt.Errorf("driver \"lima\": %w", err), getLima)
	case err != nil && os.Geteuid() == 0: // "must not run as the root user"
		return failure.WithHint(failure.Refuse("driver \"lima\": %s", said), "start the instance as an ordinary user")
	case err != nil:
		return fmt.Errorf("driver \"lima\": limactl --version: %w: %s", err, said)
	}
	version := said[strings.LastIndex(said, " ")+1:]
	major, _, _ := strings.Cut(strings.TrimPrefix(version, "v"), ".")
	if n, err := strconv.Atoi(major); err == nil && n < minVersion {
		return failure.WithHint(failure.Refuse("driver \"lima\": limactl is of version %s, and %d.0 is needed", version, minVersion), getLima)
	}
	return nil
}

func (c *Config) checkPath() error {
	if path := c.dir(longest); len(path) > maxSocket {
		return failure.WithHint(failure.Refuse("driver \"lima\": the path %q of a socket is too long: %d bytes, %d are possible", path, len(path), maxSocket),
			"set DOCKER_RD_HOME to a directory with a shorter path")
	}
	return nil
}

// checkTemplate refuses another template than the machine was made from.
func (c *Config) checkTemplate() error {
	if !strings.Contains(c.template(), ":") {
		if _, err := os.Stat(c.template()); err != nil {
			return failure.Refuse("template: %w", err)
		}
	}
	made, err := files.Read(c.dir(templateFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if was := string(bytes.TrimSpace(made)); err == nil && was != c.template() {
		return failure.WithHint(failure.Refuse("template %q: instance %q has a machine that was made from %q", c.template(), c.Name, was),
			"set it back; another machine takes another instance, or that this one is removed")
	}
	return err
}

// checkQEMU looks for what limactl runs on Linux. Variables such as QEMU_SYSTEM_X86_64 name another
// program, which is the user's affair.
func checkQEMU() (errs []error) {
	arch, pkg := "x86_64", "qemu-system-x86"
	if runtime.GOARCH == "arm64" {
		arch, pkg = "aarch64", "qemu-system-arm"
	}
	if os.Getenv("QEMU_SYSTEM_"+strings.ToUpper(arch)) != "" {
		return nil
	}
	if _, err := exec.LookPath("qemu-system-" + arch); err != nil {
		errs = append(errs, failure.WithHint(fmt.Errorf("driver \"lima\": %w", err), "`sudo apt-get install %s ovmf`", pkg))
	}
	// Without it limactl goes on, slowly; with one that the user can't open, it does not.
	kvm, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	if err == nil {
		_ = kvm.Close()
	} else if errors.Is(err, fs.ErrPermission) {
		errs = append(errs, failure.WithHint(fmt.Errorf("driver \"lima\": %w", err), "`sudo usermod -aG kvm %s`, then log in again", session.Username()))
	}
	return errs
}

// Lacks returns what is worse here than elsewhere, each with a hint.
func (*Config) Lacks() []error {
	if _, err := os.Stat("/dev/kvm"); runtime.GOOS != "linux" || err == nil {
		return nil
	}
	return []error{failure.WithHint(errors.New("there is no /dev/kvm: the virtual machine is emulated, and very slow"),
		"`sudo modprobe kvm_intel` or `sudo modprobe kvm_amd`, if the processor has it")}
}

package foreground

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// Roles of this program, in the environment: the one that runs a command, and the command.
const role = "FOREGROUND_TEST"

func TestMain(m *testing.M) {
	switch os.Getenv(role) {
	case "run":
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), role+"=command")
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // so it gets only what is passed on
		_, err := Run(context.Background(), cmd)
		if err != nil {
			fmt.Println(err)
		}
	case "command":
		signals := make(chan os.Signal, 2)
		signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
		fmt.Println("ready")
		fmt.Println(<-signals)
	default:
		os.Exit(m.Run())
	}
}

// A key that interrupts reaches the command from the terminal, also if standard input is a file. It
// is not passed on: for many programs a second interrupt means more than the first.
func TestInterruptedByKey(t *testing.T) {
	keyboard, terminal := openTerminal(t)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), role+"=run", "GORACE=atexit_sleep_ms=0")
	cmd.ExtraFiles = []*os.File{terminal}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 3}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	if !lines.Scan() || lines.Text() != "ready" {
		t.Fatalf("the command is not ready: %q", lines.Text())
	}
	if _, err := keyboard.WriteString("\x03"); err != nil {
		t.Fatal(err)
	}
	// The terminal shows the key after it has sent the signal.
	shown := make([]byte, 2)
	if _, err := io.ReadFull(keyboard, shown); err != nil || string(shown) != "^C" {
		t.Fatalf("the terminal shows %q, %v", shown, err)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	var got []string
	for lines.Scan() {
		got = append(got, lines.Text())
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	if strings.Join(got, ", ") != "terminated" {
		t.Errorf("passed on: %q, want only SIGTERM", got)
	}
}

// openTerminal makes a terminal. What is written to keyboard is typed on it.
func openTerminal(t *testing.T) (keyboard, terminal *os.File) {
	t.Helper()
	keyboard, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = keyboard.Close() })
	fd := int(keyboard.Fd())
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	terminal, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = terminal.Close() })
	return keyboard, terminal
}

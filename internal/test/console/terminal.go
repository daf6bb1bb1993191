package console

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// A Terminal is a shell on a terminal (of tmux), in which a user runs the commands of a page.
type Terminal struct {
	home    string
	command func(argv ...string) *exec.Cmd
	shown   *strings.Replacer
	fifo    *os.File
	number  int
}

// driver runs the steps that it is told through a pipe, and says how each ended.
const driver = `exec 3<"$HOME/.steps"
while read -r step <&3; do
	printf '\033[H\033[2J\033[3J'
	. "$HOME/.$step"
	printf '\n<%s ended with %d>\n' "$step" $?
done`

// Open starts a shell in the directory home with more variables in its environment. Command returns
// what runs a program as the user. The caller closes the terminal.
func Open(home string, command func(argv ...string) *exec.Cmd, env ...string) (*Terminal, error) {
	t := &Terminal{home: home, command: command}
	login, err := t.out("id", "-un")
	if err != nil {
		return nil, err
	}
	uid, err := t.out("id", "-u")
	if err != nil {
		return nil, err
	}
	// The pages are about another user.
	t.shown = strings.NewReplacer(home, "/home/ann", "/run/user/"+uid, "/run/user/1000", login, "ann")
	if _, err := t.out("mkfifo", filepath.Join(home, ".steps")); err != nil {
		return nil, err
	}
	if err := t.Write(".driver", driver); err != nil {
		return nil, err
	}
	if t.fifo, err = os.OpenFile(filepath.Join(home, ".steps"), os.O_RDWR, 0); err != nil {
		return nil, err
	}
	argv := append([]string{"env", "HOME=" + home, "XDG_RUNTIME_DIR=/run/user/" + uid, "LANG=C.UTF-8", "SHELL=/bin/bash"}, env...)
	_, err = t.out(append(argv, "sh", "-c", `cd && exec tmux -u -S "$0" -f /dev/null new-session -d -x 150 -y 400 bash .driver`, t.socket())...)
	return t, err
}

func (t *Terminal) socket() string { return filepath.Join(t.home, ".tmux") }

// Close ends the shell, and with it the terminal. It does not wait for that.
func (t *Terminal) Close() error { return t.fifo.Close() }

func (t *Terminal) out(argv ...string) (string, error) {
	out, err := t.command(argv...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%q: %w: %s", argv, err, out)
	}
	return strings.TrimSpace(string(out)), nil
}

// Write makes a file in the directory of the terminal.
func (t *Terminal) Write(name, text string) error {
	cmd := t.command("sh", "-c", `cat >"$0"`, filepath.Join(t.home, name))
	cmd.Stdin = strings.NewReader(text)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("write %q: %w: %s", name, err, out)
	}
	return nil
}

// Do runs commands, and returns what is on the terminal then, and the exit status.
func (t *Terminal) Do(commands string) (lines []string, code int, err error) {
	t.number++
	step := fmt.Sprintf("step%d", t.number)
	if err := t.Write("."+step, commands+"\n"); err != nil {
		return nil, 0, err
	}
	if _, err := fmt.Fprintln(t.fifo, step); err != nil {
		return nil, 0, err
	}
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		// Long lines as one.
		screen, err := t.command("tmux", "-S", t.socket(), "capture-pane", "-p", "-J").Output()
		if err != nil {
			continue
		}
		before, ended, ok := bytes.Cut(screen, []byte("\n<"+step+" ended with "))
		if !ok {
			continue
		}
		if _, err := fmt.Sscanf(string(ended), "%d>", &code); err != nil {
			continue
		}
		return t.asShown(string(before)), code, nil
	}
	screen, err := t.command("tmux", "-S", t.socket(), "capture-pane", "-p").Output()
	return nil, 0, errors.Join(fmt.Errorf("%s: it does not end:\n%s", commands, bytes.TrimSpace(screen)), err)
}

// patience is how long commands may take.
const patience = 5 * time.Minute

// Run runs a script, which must succeed.
func (t *Terminal) Run(script string) error {
	out, code, err := t.Do("(set -e\n" + script + "\n)")
	if err == nil && code != 0 {
		err = fmt.Errorf("%s\nended with %d:\n%s", script, code, strings.Join(out, "\n"))
	}
	return err
}

// asShown returns what was printed as the pages have it.
func (t *Terminal) asShown(text string) (lines []string) {
	for line := range strings.SplitSeq(t.shown.Replace(text), "\n") {
		if !ofMachine.MatchString(line) {
			lines = append(lines, line)
		}
	}
	return lines
}

// ofMachine are lines that only some machines show, and the one that the race detector writes about
// a program that has entered another pid namespace.
var ofMachine = regexp.MustCompile("^note: containers have no limits of |^hint: (root's engines have limits|the kernel's parameter `systemd.unified|`sudo loginctl enable-linger )" +
	"|^==\\d+==WARNING: reading executable name failed ")

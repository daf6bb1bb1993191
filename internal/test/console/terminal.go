package console

import (
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
	steps   *os.File // names of steps
	ended   *os.File // their exit statuses
	number  int
}

// driver runs the steps that it is told through a pipe, and says how each ended, on the terminal and
// through another pipe: to look at the terminal again and again would take a processor.
const driver = `exec 3<"$HOME/.steps" 4>"$HOME/.ended"
while read -r step <&3; do
	printf '\033[H\033[2J\033[3J'
	. "$HOME/.$step" 3<&- 4>&-
	code=$?
	printf '\n<%s ended with %d>\n' "$step" $code
	echo $code >&4
done`

// Open starts a shell in the directory home, with runtime for the user's sockets, and with more
// variables in its environment. Command returns what runs a program as the user. The caller closes
// the terminal.
func Open(home, runtime string, command func(argv ...string) *exec.Cmd, env ...string) (*Terminal, error) {
	t := &Terminal{home: home, command: command}
	login, err := t.out("id", "-un")
	if err != nil {
		return nil, err
	}
	// The pages are about another user.
	t.shown = strings.NewReplacer(home, "/home/ann", runtime, "/run/user/1000", login, "ann")
	for name, pipe := range map[string]**os.File{".steps": &t.steps, ".ended": &t.ended} {
		path := filepath.Join(home, name)
		if _, err := t.out("mkfifo", path); err != nil {
			return nil, err
		}
		if *pipe, err = os.OpenFile(path, os.O_RDWR, 0); err != nil {
			return nil, err
		}
	}
	if err := t.Write(".driver", driver); err != nil {
		return nil, err
	}
	argv := append([]string{"env", "HOME=" + home, "XDG_RUNTIME_DIR=" + runtime, "LANG=C.UTF-8", "SHELL=/bin/bash"}, env...)
	_, err = t.out(append(argv, "sh", "-c", `cd && exec tmux -u -S "$0" -f /dev/null new-session -d -x 150 -y 400 bash .driver`, t.socket())...)
	return t, err
}

func (t *Terminal) socket() string { return filepath.Join(t.home, ".tmux") }

// Close ends the shell, and with it the terminal. It does not wait for that.
func (t *Terminal) Close() error { return errors.Join(t.steps.Close(), t.ended.Close()) }

func (t *Terminal) out(argv ...string) (string, error) {
	out, err := t.command(argv...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%q: %w: %s", argv, err, out)
	}
	return strings.TrimSpace(string(out)), nil
}

// Write makes a file in the directory of the terminal, which the user may change.
func (t *Terminal) Write(name, text string) error {
	path := filepath.Join(t.home, name)
	if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
		return err
	}
	return os.Chmod(path, 0o666) // whatever the umask is
}

// Do runs commands, and returns what is on the terminal then, and the exit status.
func (t *Terminal) Do(commands string) (lines []string, code int, err error) {
	t.number++
	step := fmt.Sprintf("step%d", t.number)
	if err := t.Write("."+step, commands+"\n"); err != nil {
		return nil, 0, err
	}
	deadline := time.Now().Add(patience)
	if err := t.ended.SetReadDeadline(deadline); err != nil {
		return nil, 0, err
	}
	if _, err := fmt.Fprintln(t.steps, step); err != nil {
		return nil, 0, err
	}
	_, ended := fmt.Fscanf(t.ended, "%d\n", &code)
	for {
		// Long lines as one. The terminal may not have all of them yet.
		screen, err := t.command("tmux", "-S", t.socket(), "capture-pane", "-p", "-J").Output()
		switch before, _, ok := strings.Cut(string(screen), fmt.Sprintf("\n<%s ended with %d>\n", step, code)); {
		case ended != nil || time.Now().After(deadline):
			return nil, 0, errors.Join(fmt.Errorf("%s: it does not end:\n%s", commands, screen), ended, err)
		case err != nil:
			return nil, 0, err
		case ok:
			return t.asShown(before), code, nil
		}
	}
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
var ofMachine = regexp.MustCompile("^note: (containers have no limits of |the engine can't have limits of )|^hint: (root's engines have limits|the kernel's parameter `systemd.unified|`sudo loginctl enable-linger )" +
	"|^==\\d+==WARNING: reading executable name failed ")

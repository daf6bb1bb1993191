//go:build unix

// Package fakelima is a limactl for tests. It behaves as limactl 2.2 was seen to: its commands,
// what they print and refuse, its files and states. Its machine is a process that serves a fake
// engine; an sshd of the test's is the machine's.
package fakelima

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/docker-rd/docker-rd/internal/test/fakeengine"
)

// Env names the directory with the files that say how limactl behaves: "ssh_config" leads to
// the machine as the host "rdtest", and "remote" is the PATH there. Those that tests make:
//
//	version  another version
//	root     it refuses to run, as for root
//	fail     the machine does not start, for this reason
//	hold     the machine does not get ready as long as the file exists
//	hang     the machine does not shut down
//	objects  those of the engine, in JSON (fakeengine.Objects)
const Env = "FAKE_LIMA"

// Socket is the engine's socket in the directory of [Env].
const Socket = "engine.sock"

func knob(name string) string { return filepath.Join(os.Getenv(Env), name) }

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// Main is limactl.
func Main() {
	if exists(knob("root")) {
		fmt.Fprint(os.Stderr, "limactl: must not run as the root user\n")
		os.Exit(1)
	}
	var flags, words []string
	for _, arg := range os.Args[1:] {
		if strings.HasPrefix(arg, "-") {
			flags = append(flags, arg)
		} else {
			words = append(words, arg)
		}
	}
	if len(words) == 0 {
		version, err := os.ReadFile(knob("version"))
		if err != nil {
			version = []byte("2.2.0")
		}
		fmt.Printf("limactl version %s\n", strings.TrimSpace(string(version)))
		return
	}
	home := os.Getenv("LIMA_HOME")
	switch words[0] {
	case "list":
		list(home)
	case "start":
		name, template := words[len(words)-1], ""
		for _, flag := range flags {
			if value, ok := strings.CutPrefix(flag, "--name="); ok {
				name, template = value, words[len(words)-1]
			}
		}
		vm(home, name).start(template)
	case "stop":
		force := len(flags) > 1 // beside --tty=false
		vm(home, words[1]).stop(force)
	case "hostagent":
		vm(home, words[1]).hostAgent()
	case "qemu":
		qemu()
	default:
		fatal("unknown command %q for %q", words[0], "limactl")
	}
}

// say prints a line as logrus does where there is no terminal.
func say(level, format string, args ...any) {
	fmt.Fprintf(os.Stderr, "time=%q level=%s msg=%q\n", time.Now().Format(time.RFC3339), level, fmt.Sprintf(format, args...))
}

func fatal(format string, args ...any) {
	say("fatal", format, args...)
	os.Exit(1)
}

func check(err error) {
	if err != nil {
		fatal("%v", err)
	}
}

// A machine is an instance of Lima's.
type machine struct{ name, dir string }

func vm(home, name string) machine { return machine{name, filepath.Join(home, name)} }

func (m machine) path(file string) string { return filepath.Join(m.dir, file) }

// pid reads a pid file, and removes one whose process has ended.
func (m machine) pid(file string) int {
	data, err := os.ReadFile(m.path(file))
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil {
		return 0
	}
	if syscall.Kill(pid, 0) != nil {
		_ = os.Remove(m.path(file))
		return 0
	}
	return pid
}

func (m machine) status() (status string, agent, driver int) {
	agent, driver = m.pid("ha.pid"), m.pid("qemu.pid")
	switch {
	case agent > 0 && driver > 0:
		return "Running", agent, driver
	case agent == 0 && driver == 0:
		return "Stopped", 0, 0
	}
	return "Broken", agent, driver
}

func list(home string) {
	paths, _ := filepath.Glob(filepath.Join(home, "*", "lima.yaml"))
	if len(paths) == 0 {
		say("warning", "No instance found. Run `limactl create` to create an instance.")
	}
	for _, path := range paths {
		m := vm(home, filepath.Base(filepath.Dir(path)))
		status, agent, driver := m.status()
		_ = json.NewEncoder(os.Stdout).Encode(map[string]any{
			"name": m.name, "hostname": "lima-" + m.name, "status": status, "dir": m.dir, "vmType": "qemu", "arch": "x86_64",
			"hostAgentPID": agent, "driverPID": driver, "sshConfigFile": m.path("ssh.config"), "protected": false, "limaVersion": "2.2.0",
		})
	}
}

func (m machine) start(template string) {
	if template != "" {
		say("info", "Terminal is not available, proceeding without opening an editor")
		if exists(m.dir) {
			fatal("instance `%s` already exists", m.name)
		}
		check(os.MkdirAll(m.dir, 0o700))
		check(os.WriteFile(m.path("lima.yaml"), []byte("# from "+template+"\n"), 0o600))
	} else {
		say("info", "Using the existing instance `%s`", m.name)
	}
	switch status, _, _ := m.status(); {
	case status == "Running":
		say("info", "The instance `%s` is already running.", m.name)
		return
	case exists(m.path("ha.pid")):
		fatal("instance `%s` seems running (hint: remove `%s` if the instance is not actually running)", m.name, m.path("ha.pid"))
	}
	say("info", "Starting the instance `%s` with internal VM driver `qemu`", m.name)
	_ = os.Remove(m.path("ready"))
	out, err := os.Create(m.path("ha.stdout.log"))
	check(err)
	errs, err := os.Create(m.path("ha.stderr.log"))
	check(err)
	agent := again("hostagent", m.name)
	agent.Stdout, agent.Stderr = out, errs
	check(agent.Start())
	exited := make(chan error, 1)
	go func() { exited <- agent.Wait() }()
	say("info", "[hostagent] Waiting for the essential requirement 1 of 2: `ssh`")
	for !exists(m.path("ready")) {
		select {
		case err := <-exited:
			if why, err := os.ReadFile(knob("fail")); err == nil {
				say("warning", "[hostagent] qemu[stderr]: %s", strings.TrimSpace(string(why)))
			}
			fatal("host agent process has exited: %v", err)
		case <-time.After(10 * time.Millisecond):
		}
	}
	say("info", "READY. Run `limactl shell %s` to open the shell.", m.name)
}

// again returns a command that runs this program once more, in the background.
func again(args ...string) *exec.Cmd {
	cmd := exec.Command("fake-limactl", args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return cmd
}

// sshConfig is what Lima writes of its connection. It starts a master, and trusts the local host.
func (m machine) sshConfig() error {
	data, err := os.ReadFile(knob("ssh_config"))
	if err != nil {
		return err
	}
	text := strings.Replace(string(data), "Host rdtest\n", fmt.Sprintf(`Host lima-%s
UserKnownHostsFile /dev/null
StrictHostKeyChecking no
NoHostAuthenticationForLocalhost yes
ControlMaster auto
ControlPath %s
ControlPersist yes
`, m.name, m.path("ssh.sock")), 1)
	return os.WriteFile(m.path("ssh.config"), []byte(text), 0o600)
}

// hostAgent runs the machine until it is told to end, or the machine does.
func (m machine) hostAgent() {
	told := make(chan os.Signal, 1)
	signal.Notify(told, os.Interrupt)
	check(os.WriteFile(m.path("ha.pid"), fmt.Appendln(nil, os.Getpid()), 0o600))
	defer os.Remove(m.path("ha.pid"))
	check(m.sshConfig())
	log := json.NewEncoder(os.Stderr)
	tell := func(msg string) {
		_ = log.Encode(map[string]any{"level": "info", "msg": msg, "time": time.Now()})
	}
	if exists(knob("fail")) {
		tell("Driver stopped due to error: `exit status 1`")
		_ = os.Remove(m.path("ha.pid"))
		os.Exit(1)
	}
	driver := again("qemu")
	check(driver.Start())
	check(os.WriteFile(m.path("qemu.pid"), fmt.Appendln(nil, driver.Process.Pid), 0o600))
	defer os.Remove(m.path("qemu.pid"))
	ended := make(chan error, 1)
	go func() { ended <- driver.Wait() }()
	tell("Waiting for the essential requirement 1 of 2: `ssh`")
	for waiting := true; waiting; {
		waiting = exists(knob("hold")) || !exists(knob(Socket))
		select {
		case <-told:
			waiting = false
			told <- os.Interrupt
		case <-time.After(10 * time.Millisecond):
		}
	}
	check(os.WriteFile(m.path("ready"), nil, 0o600))
	select {
	case err := <-ended:
		tell(fmt.Sprintf("Driver stopped due to error: `%v`", err))
	case <-told:
		tell("Received SIGINT, shutting down the host agent")
		_ = driver.Process.Signal(syscall.SIGTERM) // the power button
		<-ended
	}
}

// qemu is the machine. In it, poweroff works as the power button does.
func qemu() {
	down, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	_ = os.Remove(knob(Socket)) // of a machine that was killed
	_ = os.Remove(knob("off"))
	e, err := fakeengine.Start(knob(Socket))
	check(err)
	if data, err := os.ReadFile(knob("objects")); err == nil {
		var objects fakeengine.Objects
		check(json.Unmarshal(data, &objects))
		e.Add(objects)
	}
	remote, err := os.ReadFile(knob("remote"))
	check(err)
	sudo := filepath.Join(strings.TrimSpace(string(remote)), "sudo")
	check(os.WriteFile(sudo, fmt.Appendf(nil, "#!/bin/sh\n: >%s\n", knob("off")), 0o755)) // sshd may be in another pid namespace
	for down.Err() == nil && !exists(knob("off")) {
		time.Sleep(10 * time.Millisecond)
	}
	for exists(knob("hang")) {
		time.Sleep(10 * time.Millisecond)
	}
	_ = e.Close()
	_ = os.Remove(knob(Socket))
}

func (m machine) stop(force bool) {
	status, agent, driver := m.status()
	if !exists(m.path("lima.yaml")) {
		fatal("instance `%s` does not exist", m.name)
	}
	if force {
		for _, pid := range []int{driver, agent} {
			if pid > 0 {
				say("info", "Sending SIGKILL to the process %d", pid)
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
		}
		for _, pattern := range []string{"*.pid", "*.sock", "*.tmp"} {
			paths, _ := filepath.Glob(m.path(pattern))
			for _, path := range paths {
				if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
					say("error", "%v", err)
				}
			}
		}
		_ = os.Remove(knob(Socket))
		return
	}
	if status != "Running" {
		fatal("expected status `Running`, got `%s` (maybe use `limactl stop -f`?)", status)
	}
	say("info", "Sending SIGINT to hostagent process %d", agent)
	check(syscall.Kill(agent, syscall.SIGINT))
	say("info", "Waiting for the host agent and the driver processes to shut down")
	for status != "Stopped" {
		time.Sleep(10 * time.Millisecond)
		status, _, _ = m.status()
	}
}

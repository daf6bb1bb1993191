package lima

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/docker-rd/docker-rd/internal/files"
	"github.com/docker-rd/docker-rd/internal/logfile"
	"github.com/docker-rd/docker-rd/internal/process"
)

// templateFile has the template from which the machine was made.
const templateFile = "docker-rd.template"

func (c *Config) template() string {
	if c.Settings.Template == "" {
		return defaultTemplate
	}
	return c.Settings.Template
}

// An override is a part of Lima's configuration that comes before that of the machine: limactl
// reads it with each start.
type override struct {
	CPUs         int           `json:"cpus,omitempty"`
	Memory       string        `json:"memory,omitempty"`
	Disk         string        `json:"disk,omitempty"`
	PortForwards []portForward `json:"portForwards"`
	Mounts       []mount       `json:"mounts,omitempty"`
}

type portForward struct {
	GuestIP           string `json:"guestIP"`
	GuestIPMustBeZero bool   `json:"guestIPMustBeZero"`
	GuestPort         int    `json:"guestPort,omitempty"`
	Proto             string `json:"proto"`
	HostIP            string `json:"hostIP,omitempty"`
	Ignore            bool   `json:"ignore,omitempty"`
}

type mount struct {
	Location string `json:"location"`
	Writable bool   `json:"writable"`
}

// writeOverride writes the settings for the next start. What listens on all addresses of the machine
// is served on all of the host's, what listens on the loopback address on that: Lima can't tell
// published ports from others. The machine's own name services stay in it. The home directory is
// there for containers' bind mounts, unless the template is the user's.
func (c *Config) writeOverride() error {
	const mDNS, llmnr = 5353, 5355
	const billion = 1e9
	o := override{CPUs: int(c.Settings.NanoCPUs / billion), PortForwards: []portForward{
		{GuestIP: "0.0.0.0", GuestPort: mDNS, Proto: "any", Ignore: true},
		{GuestIP: "0.0.0.0", GuestPort: llmnr, Proto: "any", Ignore: true},
		{GuestIP: "0.0.0.0", GuestIPMustBeZero: true, Proto: "any", HostIP: "0.0.0.0"}, // and ::
		{GuestIP: "127.0.0.1", Proto: "any", HostIP: "127.0.0.1"},                      // and ::1
		{GuestIP: "0.0.0.0", Proto: "any", Ignore: true},
	}}
	if c.Settings.Memory > 0 {
		o.Memory = strconv.FormatInt(c.Settings.Memory, 10)
	}
	if c.Settings.Disk > 0 {
		o.Disk = strconv.FormatInt(c.Settings.Disk, 10)
	}
	if c.Settings.Template == "" {
		o.Mounts = []mount{{Location: "~", Writable: true}}
	}
	dir := filepath.Join(c.Paths.Data, "_config")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return files.ReplaceJSON(filepath.Join(dir, "override.yaml"), o) // which is YAML, too
}

// limactl returns a command for the machine, which is killed when ctx ends. It is in a process group
// of its own, out of reach of a Ctrl-C.
func (c *Config) limactl(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "limactl", append([]string{"--tty=false"}, args...)...)
	cmd.Env = append(os.Environ(), "LIMA_HOME="+c.Paths.Data)
	cmd.SysProcAttr = detached
	return cmd
}

// run runs limactl until it ends or ctx does, with its output in the log.
func (c *Config) run(ctx context.Context, args ...string) error {
	log, err := logfile.Open(c.Paths.EngineLog())
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := c.limactl(ctx, args...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("limactl %s: %w", args[0], errors.Join(ctx.Err(), err))
	}
	return nil
}

// A status is limactl's view of the machine.
type status struct {
	DriverPID    int
	HostAgentPID int
}

// status asks limactl. It answers nil if there is no machine yet.
func (c *Config) status(ctx context.Context) (*status, error) {
	cmd := c.limactl(ctx, "list", "--format=json")
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("limactl list: %w: %s", errors.Join(ctx.Err(), err), lastMessage(said.String()))
	}
	for d := json.NewDecoder(bytes.NewReader(out)); d.More(); {
		var s struct {
			Name string
			status
		}
		if err := d.Decode(&s); err != nil {
			return nil, fmt.Errorf("limactl list: %w", err)
		}
		if s.Name == machine {
			return &s.status, nil
		}
	}
	return nil, nil
}

// record returns what runs of the machine; the zero record if it does not run.
func (c *Config) record(ctx context.Context) (r record, err error) {
	s, err := c.status(ctx)
	if err != nil || s == nil || s.DriverPID == 0 {
		return r, err
	}
	if r.Engine, err = process.Find(s.DriverPID); errors.Is(err, process.ErrGone) {
		return record{}, nil
	}
	r.HostAgent, _ = process.Find(s.HostAgentPID)
	r.Launch = c.read().Launch
	return r, err
}

// pids returns the processes of the machine's pid files. They are right while the lock is held.
func (c *Config) pids() (ids []process.ID) {
	for _, path := range c.glob("*.pid") {
		data, _ := files.Read(path)
		if pid, err := strconv.Atoi(strings.TrimSpace(string(data))); err == nil {
			if id, err := process.Find(pid); err == nil {
				ids = append(ids, id)
			}
		}
	}
	return ids
}

// clean removes what a machine has left that no longer runs: limactl may take a pid that is
// reused for the machine's, and would not start it, or end a stranger's process.
func (c *Config) clean() error {
	var errs []error
	for _, pattern := range []string{"*.pid", "*.sock"} {
		for _, path := range c.glob(pattern) {
			errs = append(errs, os.Remove(path))
		}
	}
	if !files.Exists(c.dir("lima.yaml")) { // it was being made
		errs = append(errs, os.RemoveAll(c.dir("")))
	}
	return errors.Join(errs...)
}

// glob returns the machine's files of a pattern. The path of its directory is none.
func (c *Config) glob(pattern string) (paths []string) {
	names, _ := fs.Glob(os.DirFS(c.dir("")), pattern)
	for _, name := range names {
		paths = append(paths, c.dir(name))
	}
	return paths
}

// kill kills the processes.
func kill(ids ...process.ID) {
	for _, id := range ids {
		_ = id.Signal(syscall.SIGKILL)
	}
}

// pauseTime is how often limactl's files are looked at.
const pauseTime = 50 * time.Millisecond

// lastMessage returns the last message that limactl has printed.
func lastMessage(text string) string {
	_, message := logfile.Parse(lastLine(text))
	return message
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return lines[len(lines)-1]
}

package portproxy

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/docker-rd/docker-rd/internal/process"
)

// A containerd has no proxies: its client nerdctl has a container's ports published by a plugin of
// the network, see https://www.cni.dev/docs/spec. It calls a program named "portmap" with a
// command in the environment and the network's configuration on the standard input, when a
// container starts and when it has ended. The system's sets packet filter rules in the engine's
// namespace. Ours calls that, and starts the proxies that dockerd would start; they outlive it.

// PluginName is the name of the plugin that publishes ports.
const PluginName = "portmap"

// PluginEnvSuffix follows the plugin's path in the path of a file with the environment of its
// proxies: variables, separated by zeros. The plugin's own environment is nerdctl's caller's.
const PluginEnvSuffix = ".env"

// RulesSuffix follows the plugin's path in that of the system's.
const RulesSuffix = "-rules"

// PluginDir is where the plugin is, below the directory with the program of the proxies.
const PluginDir = "cni"

// endPatience is how long a proxy may take to end.
const endPatience = 10 * time.Second

// A network is what the plugin reads of a network's configuration.
type network struct {
	RuntimeConfig struct {
		PortMappings []portMapping `json:"portMappings"`
	} `json:"runtimeConfig"`
	PrevResult struct {
		IPs []struct {
			Address netip.Prefix `json:"address"`
		} `json:"ips"`
	} `json:"prevResult"`
}

type portMapping struct {
	HostPort      uint16 `json:"hostPort"`
	ContainerPort uint16 `json:"containerPort"`
	Protocol      string `json:"protocol"`
	HostIP        string `json:"hostIP"`
}

// pluginProgram is the program of the plugin.
func pluginProgram(path string) {
	input, err := io.ReadAll(os.Stdin)
	var answer []byte
	if err == nil {
		answer, err = plug(path, input)
	}
	if err != nil {
		answer, _ = json.Marshal(map[string]any{"cniVersion": "1.0.0", "code": 100, "msg": err.Error()})
	}
	_, _ = os.Stdout.Write(answer)
	if err != nil {
		os.Exit(1)
	}
	os.Exit(0)
}

// plug carries out a command and returns the answer.
func plug(path string, input []byte) (answer []byte, err error) {
	command := os.Getenv("CNI_COMMAND")
	if command != "ADD" && command != "DEL" {
		return rules(path, input)
	}
	var conf network
	if err := json.Unmarshal(input, &conf); err != nil {
		return nil, fmt.Errorf("configuration of the network: %w", err)
	}
	env, err := os.ReadFile(path + PluginEnvSuffix)
	if err != nil {
		return nil, err
	}
	p := publisher{
		program:   filepath.Join(filepath.Dir(filepath.Dir(path)), Name),
		env:       strings.Split(string(env), "\x00"),
		container: os.Getenv("CNI_CONTAINERID"),
		owner:     os.Getenv("CNI_CONTAINERID") + "/" + os.Getenv("CNI_IFNAME"),
	}
	unlock, err := p.lock()
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := p.end(); err != nil { // on ADD those of a start that was broken off
		return nil, err
	}
	if command == "DEL" {
		return rules(path, input)
	}
	if err = p.publish(conf); err == nil {
		answer, err = rules(path, input)
	}
	if err != nil {
		return nil, errors.Join(err, p.end())
	}
	return answer, nil
}

// rules has the system's plugin carry out the command.
func rules(path string, input []byte) (answer []byte, err error) {
	cmd := exec.Command(path + RulesSuffix)
	cmd.Stdin, cmd.Stderr = bytes.NewReader(input), os.Stderr
	answer, err = cmd.Output()
	var failed struct {
		Message string `json:"msg"`
		Details string `json:"details"`
	}
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && json.Unmarshal(answer, &failed) == nil && failed.Message != "" {
		err = errors.New(strings.TrimSuffix(failed.Message+": "+failed.Details, ": "))
	}
	return answer, err
}

// ports returns what is to be published. A wildcard address is that of one family.
func (n network) ports() (ports []config, err error) {
	ips := n.PrevResult.IPs
	if len(ips) == 0 && len(n.RuntimeConfig.PortMappings) > 0 {
		return nil, errors.New("the container has no address")
	}
	for _, m := range n.RuntimeConfig.PortMappings {
		if m.HostPort == 0 {
			continue
		}
		var hosts []netip.Addr
		if m.HostIP != "" {
			host, err := netip.ParseAddr(m.HostIP)
			if err != nil {
				return nil, err
			}
			hosts = []netip.Addr{host.Unmap()}
		} else {
			for _, ip := range ips {
				hosts = append(hosts, wildcard(ip.Address.Addr()))
			}
		}
		for _, host := range hosts {
			container := ips[0].Address.Addr()
			for _, ip := range ips {
				if ip.Address.Addr().Is4() == host.Is4() {
					container = ip.Address.Addr()
					break
				}
			}
			ports = append(ports, config{
				Proto: strings.ToLower(m.Protocol), Host: netip.AddrPortFrom(host, m.HostPort),
				Container: netip.AddrPortFrom(container, m.ContainerPort),
			})
		}
	}
	return ports, nil
}

// wildcard is all addresses of an address's family.
func wildcard(a netip.Addr) netip.Addr {
	if a.Is4() {
		return netip.IPv4Unspecified()
	}
	return netip.IPv6Unspecified()
}

// A publisher starts and ends the proxies of a container in a network.
type publisher struct {
	program   string   // of a proxy
	env       []string // its environment
	container string
	owner     string // the container and its interface, as in a proxy's file
}

// publish starts the proxies. A container in several networks has its ports published in each, at the
// same time: the first one serves them.
func (p publisher) publish(conf network) error {
	ports, err := conf.ports()
	published := map[string]bool{}
	for _, proxy := range p.proxies() {
		published[proxy.port] = true
	}
	for _, port := range ports {
		if err == nil && !published[port.announced()] {
			err = p.start(port)
		}
	}
	return err
}

// dir returns the directory of the proxies' files, "" if there is none.
func (p publisher) dir() string {
	for _, v := range p.env {
		if dir, ok := strings.CutPrefix(v, PortsEnv+"="); ok {
			return dir
		}
	}
	return ""
}

// lock keeps other networks' publishers away.
func (p publisher) lock() (unlock func(), err error) {
	dir, err := os.Open(p.dir())
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(dir.Fd()), syscall.LOCK_EX); err != nil {
		_ = dir.Close()
		return nil, os.NewSyscallError("flock", err)
	}
	return func() { _ = dir.Close() }, nil
}

// start starts a proxy and returns when it listens.
func (p publisher) start(c config) error {
	answers, status, err := os.Pipe()
	if err != nil {
		return err
	}
	defer answers.Close()
	cmd := exec.Command(p.program,
		"-proto", c.Proto, "-host-ip", c.Host.Addr().String(), "-host-port", strconv.Itoa(int(c.Host.Port())),
		"-container-ip", c.Container.Addr().String(), "-container-port", strconv.Itoa(int(c.Container.Port())), "-owner", p.owner)
	cmd.Env, cmd.Dir, cmd.ExtraFiles = p.env, "/", []*os.File{status}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // a terminal's signals are the command's
	err = cmd.Start()
	_ = status.Close()
	if err != nil {
		return err
	}
	answer, err := io.ReadAll(answers)
	if err != nil {
		return err
	}
	if text := string(answer); text != "0\n" {
		_ = cmd.Wait()
		text = strings.TrimPrefix(text, "1\n")
		if c.Host.Port() >= firstChosen {
			text += " (if nerdctl chose the port, choose one yourself, as in -p 8080:80: nerdctl does not see what is taken on the host)"
		}
		return errors.New(text)
	}
	return nil
}

// firstChosen is the first port that nerdctl chooses, in each engine.
const firstChosen = 49153

// end ends the proxies. It returns when they have ended: their ports can be used again.
func (p publisher) end() error {
	ctx, cancel := context.WithTimeout(context.Background(), endPatience)
	defer cancel()
	for file, proxy := range p.proxies() {
		if proxy.owner != p.owner {
			continue
		}
		if err := proxy.id.Signal(syscall.SIGTERM); err == nil {
			if err := proxy.id.Wait(ctx); err != nil {
				return fmt.Errorf("the proxy of a published port does not end: %w", err)
			}
		}
		_ = os.Remove(file) // of one that was killed
	}
	return nil
}

// A served port is what a proxy's file says of it.
type served struct {
	id          process.ID
	port, owner string
}

// proxies returns those of the container in all its networks, by their files.
func (p publisher) proxies() map[string]served {
	found := map[string]served{}
	entries, _ := os.ReadDir(p.dir())
	for _, e := range entries {
		file := filepath.Join(p.dir(), e.Name())
		text, _ := os.ReadFile(file)
		port, owner := ReadAnnouncement(text)
		if !strings.HasPrefix(owner, p.container+"/") {
			continue
		}
		pid, _ := strconv.Atoi(e.Name())
		id, err := process.Find(pid)
		if stat, statErr := process.ReadStat(pid); errors.Join(err, statErr) != nil || stat.Comm != Name {
			_ = os.Remove(file) // it was killed
			continue
		}
		found[file] = served{id, port, owner}
	}
	return found
}

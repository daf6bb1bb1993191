package isolated

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/docker-rd/docker-rd/engine/namespaces"
	"github.com/docker-rd/docker-rd/internal/failure"
)

// daemonOptions are what the user asks of dockerd, by arguments and in a daemon.json.
type daemonOptions struct {
	args  []string
	flags map[string][]string        // the arguments by long name
	file  map[string]json.RawMessage // the daemon.json
}

// reserved maps arguments that belong to docker rd to their keys in daemon.json, "" for none:
// with other values the engine could not be found again, or would disturb others.
var reserved = map[string]string{
	"host":                "hosts",
	"data-root":           "data-root",
	"graph":               "graph",
	"exec-root":           "exec-root",
	"pidfile":             "pidfile",
	"config-file":         "",
	"containerd":          "containerd",
	"cgroup-parent":       "cgroup-parent",
	"userland-proxy-path": "userland-proxy-path",
	"rootless":            "",
	// These make dockerd end at once.
	"help":     "",
	"version":  "",
	"validate": "",
}

// shorthands are dockerd's one-letter options; those in valueShorthands take a value.
var shorthands = map[byte]string{
	'H': "host", 'b': "bridge", 'G': "group", 'g': "graph", 'l': "log-level", 'p': "pidfile", 's': "storage-driver",
	'D': "debug", 'h': "help", 'r': "restart", 'v': "version",
}

const valueShorthands = "HbGglps"

// readDaemonOptions reads and checks what the user asks for. What dockerd itself refuses
// is left to dockerd.
func readDaemonOptions(args []string, path string) (*daemonOptions, error) {
	s := &daemonOptions{args: args, flags: parseArgs(args)}
	for name := range s.flags {
		if _, ok := reserved[name]; ok {
			return nil, failure.WithHint(failure.Refuse("engine argument --%s is set by docker rd", name),
				"leave it out")
		}
	}
	if path != "" {
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, failure.Refuse("daemon configuration: %w", err)
		}
		if s.file, err = parseFile(data); err != nil {
			return nil, failure.Refuse("daemon configuration %q: %w", path, err)
		}
		for _, key := range reserved {
			if _, ok := s.file[key]; ok {
				return nil, failure.WithHint(failure.Refuse("daemon configuration %q: %q is set by docker rd", path, key),
					"remove it from the file")
			}
		}
	}
	if raw, ok := s.file["exec-opts"]; ok {
		var opts []string
		if err := json.Unmarshal(raw, &opts); err != nil {
			return nil, failure.Refuse("daemon configuration %q: exec-opts: %w", path, err)
		}
	}
	if on, ok := s.boolean("userland-proxy"); ok && !on {
		return nil, failure.WithHint(failure.Refuse("userland-proxy can't be switched off: it is what serves published ports"),
			"remove it from the engine's arguments and its daemon configuration")
	}
	return s, nil
}

// parseArgs finds the options in args as dockerd (spf13/pflag) does. It does not know which
// take a value, so it may assign a value to one that does not.
func parseArgs(args []string) map[string][]string {
	flags := map[string][]string{}
	for i := 0; i < len(args); i++ {
		next := func() string {
			if i+1 < len(args) && !strings.HasPrefix(args[i+1], "-") {
				i++
				return args[i]
			}
			return ""
		}
		switch arg := args[i]; {
		case strings.HasPrefix(arg, "--"):
			name, value, ok := strings.Cut(arg[2:], "=")
			if !ok {
				value = next()
			}
			flags[name] = append(flags[name], value)
		case strings.HasPrefix(arg, "-"):
			for letters := arg[1:]; letters != ""; letters = letters[1:] {
				name := shorthands[letters[0]]
				if !strings.Contains(valueShorthands, letters[:1]) {
					flags[name] = append(flags[name], "")
					continue
				}
				value := strings.TrimPrefix(letters[1:], "=")
				if value == "" {
					value = next()
				}
				flags[name] = append(flags[name], value)
				break
			}
		}
	}
	return flags
}

// parseFile parses a daemon.json. Like dockerd it accepts a byte-order mark and an empty file.
func parseFile(data []byte) (map[string]json.RawMessage, error) {
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	if len(bytes.TrimSpace(data)) == 0 {
		return nil, nil
	}
	var file map[string]json.RawMessage
	if err := json.Unmarshal(data, &file); err != nil {
		return nil, err
	}
	return file, nil
}

// has reports whether the user has set any of these options or keys.
func (s *daemonOptions) has(names ...string) bool {
	return slices.ContainsFunc(names, func(name string) bool {
		_, flag := s.flags[name]
		_, key := s.file[name]
		return flag || key
	})
}

func (s *daemonOptions) boolean(name string) (value, ok bool) {
	if values, ok := s.flags[name]; ok {
		last := values[len(values)-1]
		on, err := strconv.ParseBool(last)
		return last == "" || (err == nil && on), true
	}
	if raw, ok := s.file[name]; ok {
		return json.Unmarshal(raw, &value) == nil && value, true
	}
	return false, false
}

// text returns a setting that is a string, "" where it is not set.
func (s *daemonOptions) text(name string) string {
	if values := s.flags[name]; len(values) > 0 {
		return values[len(values)-1]
	}
	var value string
	_ = json.Unmarshal(s.file[name], &value) // dockerd refuses what is no string
	return value
}

// liveRestore is the name of the setting with which containers outlive dockerd.
const liveRestore = "live-restore"

func (s *daemonOptions) liveRestore() bool {
	on, _ := s.boolean(liveRestore)
	return on
}

// nftables reports whether the user asked for nftables instead of iptables, as dockerd 29
// supports.
func (s *daemonOptions) nftables() bool {
	return s.text("firewall-backend") == "nftables"
}

const cgroupDriver = "native.cgroupdriver="

// execOpts returns the user's exec-opts, and whether they are arguments.
func (s *daemonOptions) execOpts() (opts []string, flag bool) {
	if opts, ok := s.flags["exec-opt"]; ok {
		return opts, true
	}
	_ = json.Unmarshal(s.file["exec-opts"], &opts) // checked by readDaemonOptions
	return opts, false
}

// systemdCgroups reports whether the user asked for cgroups made by systemd.
func (s *daemonOptions) systemdCgroups() bool {
	opts, _ := s.execOpts()
	return slices.Contains(opts, cgroupDriver+"systemd")
}

// merged returns the daemon.json and the arguments to start dockerd with: the user's settings,
// and ours for what the user has not set. dockerd refuses a setting that is both an argument
// and in the file, so ours are in the file.
func (s *daemonOptions) merged(net namespaces.Subnets) (file []byte, args []string, err error) {
	all := map[string]any{}
	for key, raw := range s.file {
		all[key] = raw
	}
	if !s.has("dns") {
		all["dns"] = []string{net.DNS().String()}
	}
	if !s.has("mtu") {
		all["mtu"] = namespaces.SlirpMTU
	}
	pools := s.has("default-address-pool", "default-address-pools") // which are for the bridge too
	if !pools && !s.has("bip", "bridge", "fixed-cidr") {
		all["bip"] = net.Bridge.String()
	}
	if !pools && len(net.Pools) > 0 {
		all["default-address-pools"] = net.Pools
	}
	args = s.args
	if _, both := all[liveRestore]; s.liveRestore() && !both {
		// In the file it can be switched off while dockerd runs.
		all[liveRestore] = true
		args = slices.DeleteFunc(slices.Clone(args), func(arg string) bool {
			name, _, _ := strings.Cut(arg, "=")
			return name == "--"+liveRestore
		})
	}
	opts, flag := s.execOpts()
	if !slices.ContainsFunc(opts, func(o string) bool { return strings.HasPrefix(o, cgroupDriver) }) {
		// systemd would make the containers' scopes in its own tree, by D-Bus, and take its
		// time for each. To a dockerd for ordinary users cgroupfs means none; the user's systemd
		// can't know processes of another pid namespace.
		const driver = cgroupDriver + "cgroupfs"
		if flag {
			args = append(slices.Clone(args), "--exec-opt", driver)
		} else {
			all["exec-opts"] = append(slices.Clone(opts), driver)
		}
	}
	file, err = json.MarshalIndent(all, "", "  ")
	if err != nil {
		return nil, nil, fmt.Errorf("daemon configuration: %w", err)
	}
	return append(file, '\n'), args, nil
}

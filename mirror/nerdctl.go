package mirror

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	containersapi "github.com/containerd/containerd/api/services/containers/v1"
	cerrdefs "github.com/containerd/errdefs"
	"github.com/go-json-experiment/json"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/docker-rd/docker-rd/internal/containerd"
	"github.com/docker-rd/docker-rd/internal/dirwatch"
	"github.com/docker-rd/docker-rd/internal/files"
	"github.com/docker-rd/docker-rd/mirror/state"
)

// Facts that containerd's API does not have: specifications and image configurations are JSON of the
// Open Container Initiative, and nerdctl keeps names, ports, volumes and networks in labels and in
// files of its own. What can't be read there is left out: it is not the engine's.

// A spec is what is read of a container's specification.
type spec struct {
	Process struct {
		Args []string `json:"args"`
	} `json:"process"`
	Linux struct {
		Resources struct {
			Memory struct {
				Limit       int64 `json:"limit"`
				Reservation int64 `json:"reservation"`
				Swap        int64 `json:"swap"`
			} `json:"memory"`
			CPU struct {
				Shares int64  `json:"shares"`
				Quota  int64  `json:"quota"`
				Period int64  `json:"period"`
				Cpus   string `json:"cpus"`
			} `json:"cpu"`
			Pids struct {
				Limit int64 `json:"limit"`
			} `json:"pids"`
		} `json:"resources"`
	} `json:"linux"`
	Mounts []struct {
		Destination string   `json:"destination"`
		Type        string   `json:"type"`
		Source      string   `json:"source"`
		Options     []string `json:"options"`
	} `json:"mounts"`
}

func readSpec(data []byte) (s spec) {
	_ = json.Unmarshal(data, &s, liberal)
	return s
}

// limits returns what the container may use, nil for no limit. In a specification -1 means none.
func (s spec) limits() *state.Limits {
	r := s.Linux.Resources
	l := state.Limits{
		Memory: max(0, r.Memory.Limit), MemoryReservation: max(0, r.Memory.Reservation), MemorySwap: r.Memory.Swap,
		CPUShares: r.CPU.Shares, CPUQuota: max(0, r.CPU.Quota), CPUPeriod: r.CPU.Period, CpusetCpus: r.CPU.Cpus, PidsLimit: max(0, r.Pids.Limit),
	}
	if l == (state.Limits{}) {
		return nil
	}
	return &l
}

// bindMounts returns the mounts of the host's files.
func (s spec) bindMounts() (out []state.Mount) {
	for _, m := range s.Mounts {
		if m.Type == "bind" || slices.Contains(m.Options, "bind") || slices.Contains(m.Options, "rbind") {
			out = append(out, state.Mount{Type: "bind", Source: m.Source, Destination: m.Destination, ReadOnly: slices.Contains(m.Options, "ro")})
		}
	}
	slices.SortStableFunc(out, func(a, b state.Mount) int { return cmp.Compare(a.Destination, b.Destination) })
	return out
}

// nerdctl is what a container's labels say.
type nerdctl struct {
	name     string
	stateDir string
	ports    []portMapping // of versions before 2
	networks []state.Attachment
	mounts   []state.Mount // nil where they do not say
	restart  state.RestartPolicy
	restarts int
	health   health
	// failed is why it could not be started, autoRemove what --rm says.
	failed     string
	autoRemove bool
}

// A portMapping is a published port in the configuration of a network plugin.
type portMapping struct {
	HostPort, ContainerPort uint16
	Protocol, HostIP        string
}

func readNerdctl(labels map[string]string) nerdctl {
	n := nerdctl{name: labels["nerdctl/name"], stateDir: labels["nerdctl/state-dir"]}
	_ = json.Unmarshal([]byte(labels["nerdctl/ports"]), &n.ports, liberal)
	var networks []string
	_ = json.Unmarshal([]byte(labels["nerdctl/networks"]), &networks, liberal)
	for _, name := range networks {
		n.networks = append(n.networks, state.Attachment{Name: name})
	}
	slices.SortFunc(n.networks, func(a, b state.Attachment) int { return cmp.Compare(a.Name, b.Name) })
	if all, ok := nerdctlMounts(labels); ok {
		n.mounts = append([]state.Mount{}, mounts(all)...)
	}
	name, count, _ := strings.Cut(labels["containerd.io/restart.policy"], ":")
	n.restart.Name = cmp.Or(name, "no")
	n.restart.MaximumRetryCount, _ = strconv.Atoi(count)
	n.restarts, _ = strconv.Atoi(labels["containerd.io/restart.count"])
	n.health = nerdctlHealth(labels)
	n.failed = labels["nerdctl/error"]
	n.autoRemove = labels["nerdctl/auto-remove"] == "true"
	return n
}

// nerdctlHealth returns how the health checks of a container go.
func nerdctlHealth(labels map[string]string) (h health) {
	var check struct{ Test []string }
	_ = json.Unmarshal([]byte(labels["nerdctl/healthcheck"]), &check, liberal)
	_ = json.Unmarshal([]byte(labels["nerdctl/healthstate"]), &h, liberal)
	if h.Status == "" && len(check.Test) > 0 && check.Test[0] != "NONE" {
		h.Status = state.HealthStarting // it is not checked yet
	}
	return h
}

// nerdctlMounts returns the mounts of a container: from version 2.3 on each has a label. One of nerdctl's
// without such a label has none; its specification has those that nerdctl makes itself, as /etc/hosts.
func nerdctlMounts(labels map[string]string) (all []mount, ok bool) {
	if text, ok := labels["nerdctl/mounts"]; ok {
		return all, json.Unmarshal([]byte(text), &all, liberal) == nil
	}
	for n := 0; ; n++ {
		text, ok := labels[fmt.Sprintf("nerdctl/mounts.%d", n)]
		if !ok {
			return all, n > 0 || labels["nerdctl/state-dir"] != ""
		}
		var one mount
		if json.Unmarshal([]byte(text), &one, liberal) == nil {
			all = append(all, one)
		}
	}
}

// nerdctlFiles is the directory with the files of nerdctl and of the networks.
type nerdctlFiles string

func (f nerdctlFiles) root() string { return filepath.Join(string(f), "nerdctl") }
func (f nerdctlFiles) nets() string { return filepath.Join(string(f), "cni", "net.d") }

// stateDir returns the directory of a container, DATA/nerdctl/HASH/containers/NAMESPACE/ID, "" for a
// container of another client. The label can say anything: an image may bring it along.
func (f nerdctlFiles) stateDir(namespace string, n nerdctl) string {
	dir := filepath.Clean(n.stateDir)
	if ok, _ := filepath.Match(filepath.Join(escaped(f.root()), "*", "containers", escaped(namespace), "*"), dir); !ok {
		return ""
	}
	return dir
}

// ports returns the published ports of a container.
func (f nerdctlFiles) ports(namespace string, n nerdctl) (ports []state.Port) {
	network := struct {
		PortMappings []portMapping `json:"portMappings"`
	}{n.ports}
	if dir := f.stateDir(namespace, n); dir != "" {
		_ = files.ReadJSON(filepath.Join(dir, "network-config.json"), &network)
	}
	for _, p := range network.PortMappings {
		ports = append(ports, state.Port{ContainerPort: p.ContainerPort, Protocol: p.Protocol, HostIP: p.HostIP, HostPort: p.HostPort})
	}
	sortPorts(ports)
	return ports
}

// NerdctlLog returns the path of the log that nerdctl keeps of a container, with a line of JSON for
// each of the container's, as dockerd's; "" for a container of another client. Data is the
// instance's directory of data.
func NerdctlLog(data string, o state.Container) string {
	namespace, id := containerd.SplitKey(o.ID)
	dir := nerdctlFiles(data).stateDir(namespace, readNerdctl(o.Labels))
	if dir == "" {
		return ""
	}
	return filepath.Join(dir, id+"-json.log")
}

// Forget removes what nerdctl keeps of a container that was deleted.
func (c *Containerd) Forget(namespace string, one *containersapi.Container) error {
	n := readNerdctl(one.Labels)
	dir := c.files.stateDir(namespace, n)
	if dir == "" {
		return nil
	}
	store := filepath.Dir(filepath.Dir(filepath.Dir(dir)))
	errs := []error{os.RemoveAll(dir), os.RemoveAll(filepath.Join(store, "etchosts", namespace, one.ID))}
	name := filepath.Join(store, "names", namespace, filepath.Base(n.name))
	if id, err := os.ReadFile(name); err == nil && strings.TrimSpace(string(id)) == one.ID {
		errs = append(errs, os.Remove(name))
	}
	return errors.Join(errs...)
}

// RemoveVolume removes a volume, unless that is not the one created at pin: then it has changed.
func (c *Containerd) RemoveVolume(namespace, name string, pin time.Time) (changed bool, err error) {
	paths, err := glob(c.files.root(), "*/volumes/"+escaped(namespace)+"/"+escaped(name)+"/volume.json")
	if err != nil {
		return false, err
	}
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil {
			return false, err
		}
		if !sensible(info.ModTime()).Equal(pin) {
			return true, nil
		}
		if err := c.host.RemoveTree(filepath.Dir(path)); err != nil {
			return false, err
		}
	}
	return false, nil
}

// Network returns a network and what removes it: its file, and the bridge that its containers have
// had.
func (c *Containerd) Network(key string) (n state.Network, remove func(context.Context) error, err error) {
	err = c.files.eachNetwork(func(found state.Network, path, bridge string) {
		if found.ID != key {
			return
		}
		n = found
		remove = func(ctx context.Context) error {
			if bridge != "" {
				if err := c.host.RemoveBridge(ctx, bridge); err != nil {
					return err
				}
			}
			return files.Remove(path)
		}
	})
	if err == nil && remove == nil {
		err = fmt.Errorf("network %q: %w", key, cerrdefs.ErrNotFound)
	}
	return n, remove, err
}

// volumes lists nerdctl's volumes: DATA/nerdctl/HASH/volumes/NAMESPACE/NAME/volume.json.
func (f nerdctlFiles) volumes(context.Context) (objects []any, err error) {
	paths, err := glob(f.root(), "*/volumes/*/*/volume.json")
	for _, path := range paths {
		info, err := os.Stat(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed meanwhile
		}
		if err != nil {
			return nil, err
		}
		var v struct{ Labels map[string]string }
		_ = files.ReadJSON(path, &v)
		dir := filepath.Dir(path)
		namespace := filepath.Base(filepath.Dir(dir))
		objects = append(objects, state.Volume{
			Name: containerd.Key(namespace, filepath.Base(dir)), Namespace: namespace, Driver: "local", Scope: "local",
			Mountpoint: filepath.Join(dir, "_data"), Labels: v.Labels, Compose: compose(v.Labels), CreatedAt: sensible(info.ModTime()),
		})
	}
	return objects, err
}

// networks lists the networks: DATA/cni/net.d/[NAMESPACE/]*.conflist. Those that are in no
// namespace's directory are of "default".
func (f nerdctlFiles) networks(context.Context) (objects []any, err error) {
	err = f.eachNetwork(func(n state.Network, _, _ string) { objects = append(objects, n) })
	return objects, err
}

func (f nerdctlFiles) eachNetwork(do func(n state.Network, path, bridge string)) error {
	paths, err := glob(f.nets(), "*.conflist", "*/*.conflist")
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if n, bridge, ok := parseNetwork(data); ok {
			if dir := filepath.Dir(path); dir != f.nets() {
				n.Namespace = filepath.Base(dir)
			}
			n.ID = containerd.Key(n.Namespace, n.ID)
			do(n, path, bridge)
		}
	}
	return err
}

// parseNetwork reads the configuration of a network; ok is false where it is none, or not yet.
// Bridge is the interface that connects its containers, "" for none.
func parseNetwork(data []byte) (n state.Network, bridge string, ok bool) {
	var conf struct {
		Name    string            `json:"name"`
		ID      string            `json:"nerdctlID"`
		Labels  map[string]string `json:"nerdctlLabels"`
		Plugins []struct {
			Type   string `json:"type"`
			Bridge string `json:"bridge"`
			IPAM   struct {
				Subnet  string `json:"subnet"`
				Gateway string `json:"gateway"`
				Ranges  [][]struct {
					Subnet  string `json:"subnet"`
					Gateway string `json:"gateway"`
				} `json:"ranges"`
			} `json:"ipam"`
		} `json:"plugins"`
	}
	if json.Unmarshal(data, &conf, liberal) != nil || conf.Name == "" || len(conf.Plugins) == 0 {
		return n, "", false
	}
	n = state.Network{ID: cmp.Or(conf.ID, conf.Name), Name: conf.Name, Namespace: "default", Driver: conf.Plugins[0].Type, Scope: "local", Labels: conf.Labels, Compose: compose(conf.Labels)}
	ipam := conf.Plugins[0].IPAM
	if ipam.Subnet != "" {
		n.Subnets, n.Gateways = append(n.Subnets, ipam.Subnet), append(n.Gateways, ipam.Gateway)
	}
	for _, r := range ipam.Ranges {
		for _, s := range r {
			n.Subnets, n.Gateways = append(n.Subnets, s.Subnet), append(n.Gateways, s.Gateway)
		}
	}
	n.IPv6 = slices.ContainsFunc(n.Subnets, func(s string) bool { return strings.Contains(s, ":") })
	return n, conf.Plugins[0].Bridge, true
}

// glob returns the paths below a directory that match the patterns.
func glob(dir string, patterns ...string) (paths []string, err error) {
	for _, pattern := range patterns {
		found, err := filepath.Glob(filepath.Join(escaped(dir), filepath.FromSlash(pattern)))
		if err != nil {
			return nil, err
		}
		paths = append(paths, found...)
	}
	return paths, nil
}

// escaped is a directory as a part of a pattern.
func escaped(dir string) string {
	if runtime.GOOS == "windows" {
		return dir
	}
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(dir)
}

// filesInterval is how often the files are looked at where they can't be watched.
const filesInterval = 10 * time.Second

// watch marks volumes and networks whenever their files may have changed, until ctx ends.
func (f nerdctlFiles) watch(ctx context.Context, in *intake) {
	watch := dirwatch.FollowAll(f.dirs, filesInterval, nil)
	defer watch.Close()
	for {
		in.mark(state.Volumes, "")
		in.mark(state.Networks, "")
		if watch.Wait(ctx) != nil {
			return
		}
	}
}

// dirs returns the directories that there are of the files.
func (f nerdctlFiles) dirs() (dirs []string) {
	found, _ := glob(string(f), ".", "nerdctl", "nerdctl/*", "nerdctl/*/volumes", "nerdctl/*/volumes/*", "nerdctl/*/volumes/*/*", "cni", "cni/net.d", "cni/net.d/*")
	for _, path := range found {
		if info, err := os.Stat(path); err == nil && info.IsDir() {
			dirs = append(dirs, path)
		}
	}
	return dirs
}

// readImage reads the facts in an image's content.
func (c *Containerd) readImage(ctx context.Context, namespace, digest string) (a inspectedImage, err error) {
	var manifest struct {
		Manifests []ocispec.Descriptor `json:"manifests"` // of an index
		ocispec.Manifest
	}
	var config struct {
		ocispec.Platform
		Created string              `json:"created"`
		Config  ocispec.ImageConfig `json:"config"`
		RootFS  ocispec.RootFS      `json:"rootfs"`
	}
	read := func(digest string, v any) error {
		data, err := c.Content(ctx, namespace, digest)
		if err == nil {
			_ = json.Unmarshal(data, v, liberal)
		}
		return err
	}
	if err := read(digest, &manifest); err != nil {
		return a, err
	}
	if list := manifest.Manifests; len(list) > 0 {
		// This machine's platform, or the first.
		i := max(0, slices.IndexFunc(list, func(d ocispec.Descriptor) bool {
			return d.Platform != nil && d.Platform.OS == runtime.GOOS && d.Platform.Architecture == runtime.GOARCH
		}))
		manifest.Manifests = nil
		if err := read(list[i].Digest.String(), &manifest); err != nil {
			return a, err
		}
	}
	if err := read(manifest.Config.Digest.String(), &config); err != nil {
		return a, err
	}
	a = inspectedImage{
		Architecture: config.Architecture, Variant: config.Variant, Os: config.OS, Created: config.Created,
		labels: config.Config.Labels, size: manifest.Config.Size,
	}
	for _, layer := range config.RootFS.DiffIDs {
		a.RootFS.Layers = append(a.RootFS.Layers, layer.String())
	}
	a.Config.ExposedPorts, a.Config.Volumes = config.Config.ExposedPorts, config.Config.Volumes
	for _, l := range manifest.Layers {
		a.size += l.Size
	}
	return a, nil
}

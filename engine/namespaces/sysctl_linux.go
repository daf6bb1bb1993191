package namespaces

import (
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"time"
)

// A Sysctl is a setting of the engine's network namespace.
type Sysctl struct {
	Name  string // as a path below /proc/sys
	Value string
}

// localPortRange is where dockerd finds the ports that it may choose from, one after
// the other, for a container's port that is published without saying where. It is
// each network namespace's own, and a new one has the kernel's default.
const localPortRange = "net/ipv4/ip_local_port_range"

func readHostPorts() string {
	data, _ := os.ReadFile("/proc/sys/" + localPortRange)
	return string(data)
}

// LocalPorts returns the setting that gives an engine ports of its own to choose from;
// false where the host's can't be understood.
func LocalPorts(uid string) (Sysctl, bool) {
	ports := portRange(readHostPorts(), uid)
	return Sysctl{localPortRange, ports}, ports != ""
}

// portRange returns the part of the host's range that an engine chooses from, "" where
// the host's can't be understood. Each engine begins elsewhere: dockerd before 28 goes
// on to the next port when its proxy finds one taken on the host, but a later one binds
// in its own namespace, where it does not see what others have published, and what its
// proxy finds then fails the container.
func portRange(host, uid string) string {
	var first, last uint32
	if n, _ := fmt.Sscan(host, &first, &last); n != 2 || first >= last || last > 65535 {
		return ""
	}
	hash := fnv.New32a()
	_, _ = hash.Write([]byte(uid))
	// At least half of the range is left. The offset is even: the kernel asks that the
	// ends be odd and even.
	offset := hash.Sum32() % ((last-first)/2 + 1) &^ 1
	return fmt.Sprintf("%d %d", first+offset, last)
}

// TapSysctls are the settings of slirp4netns's interface.
func TapSysctls(net Subnets) []Sysctl {
	if !net.IPv6 {
		return nil
	}
	// Routers don't listen to others, unless told so; this one gets its way out from
	// slirp4netns.
	return []Sysctl{{Name: "net/ipv6/conf/tap0/accept_ra", Value: "2"}}
}

// setTap sets them once the interface is there, which takes slirp4netns a moment.
func setTap(sysctls []Sysctl) error {
	if len(sysctls) == 0 || !exists("/proc/sys/net/ipv6") {
		return nil
	}
	for deadline := time.Now().Add(time.Second); ; time.Sleep(time.Millisecond) {
		err := setSysctls(sysctls)
		if !errors.Is(err, os.ErrNotExist) || time.Now().After(deadline) {
			return err
		}
	}
}

func setSysctls(sysctls []Sysctl) error {
	for _, ctl := range sysctls {
		if err := os.WriteFile("/proc/sys/"+ctl.Name, []byte(ctl.Value), 0); err != nil {
			return err
		}
	}
	return nil
}

package namespaces

import (
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"time"

	"github.com/docker-rd/docker-rd/internal/files"
)

// A Sysctl is a setting of the engine's network namespace.
type Sysctl struct {
	Name  string // as a path below /proc/sys
	Value string
}

// localPortRange has the ports from which dockerd chooses, in order, for a published port
// without a number. Each network namespace has its own; it begins with the kernel's default.
const localPortRange = "net/ipv4/ip_local_port_range"

func readHostPorts() string {
	data, _ := os.ReadFile("/proc/sys/" + localPortRange)
	return string(data)
}

// LocalPorts returns the setting that gives an engine its own range of ports; false if the
// host's can't be parsed.
func LocalPorts(uid string) (Sysctl, bool) {
	ports := portRange(readHostPorts(), uid)
	return Sysctl{localPortRange, ports}, ports != ""
}

// portRange returns an engine's part of the host's range, "" if that can't be parsed. Each
// engine begins elsewhere: dockerd before 28 tries the next port if its proxy finds one taken on
// the host. Later versions bind in their own namespace, where they do not see the ports of
// others, and then fail the container if the proxy finds the port taken.
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

// acceptRouters makes slirp4netns's interface accept its router advertisements, which routers do not
// by default, as soon as slirp4netns has made it.
func acceptRouters() error {
	if !files.Exists("/proc/sys/net/ipv6") {
		return nil
	}
	for deadline := time.Now().Add(time.Second); ; time.Sleep(time.Millisecond) {
		err := Sysctl{"net/ipv6/conf/tap0/accept_ra", "2"}.set()
		if !errors.Is(err, os.ErrNotExist) || time.Now().After(deadline) {
			return err
		}
	}
}

func (c Sysctl) set() error { return os.WriteFile("/proc/sys/"+c.Name, []byte(c.Value), 0) }

package isolated

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"path/filepath"
	"runtime/debug"
	"strings"
	"time"

	"go.etcd.io/bbolt"

	"github.com/docker-rd/docker-rd/engine/namespaces"
	"github.com/docker-rd/docker-rd/internal/failure"
)

// A network is one that users have made in the engine.
type network struct {
	name    string
	subnets []netip.Prefix // IPv4
}

// networkKeys begins the keys of networks in dockerd's store.
const networkKeys = "docker/network/v1.0/network/"

// readNetworks returns the networks in the data of an engine that does not run, without the
// default bridge, which dockerd makes at each start from its configuration.
func readNetworks(dataRoot string) (networks []network, err error) {
	path := filepath.Join(dataRoot, "network", "files", "local-kv.db")
	db, err := bbolt.Open(path, 0, &bbolt.Options{ReadOnly: true, Timeout: time.Second})
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("networks in %q: %w", path, err)
	}
	defer db.Close()
	// The file is mapped: a damaged one may cause faults, not only errors.
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("networks in %q: %v", path, cause)
		}
	}()
	err = db.View(func(tx *bbolt.Tx) error {
		bucket := tx.Bucket([]byte("libnetwork"))
		if bucket == nil {
			return nil
		}
		return bucket.ForEach(func(key, value []byte) error {
			if !strings.HasPrefix(string(key), networkKeys) {
				return nil
			}
			if n := parseNetwork(value); n.name != "bridge" && len(n.subnets) > 0 {
				networks = append(networks, n)
			}
			return nil
		})
	})
	if err != nil {
		return nil, fmt.Errorf("networks in %q: %w", path, err)
	}
	return networks, nil
}

// parseNetwork reads a value of the store: a number of eight bytes, then JSON with JSON as
// strings in it (moby, libnetwork). What can't be read has no subnets: dockerd knows better.
func parseNetwork(value []byte) network {
	const number = 8
	if len(value) < number {
		return network{}
	}
	var stored struct {
		Name string `json:"name"`
		IPAM string `json:"ipamV4Info"`
	}
	if json.Unmarshal(value[number:], &stored) != nil {
		return network{}
	}
	n := network{name: stored.Name}
	var infos []struct{ IPAMData string }
	if stored.IPAM == "" || json.Unmarshal([]byte(stored.IPAM), &infos) != nil {
		return n
	}
	for _, info := range infos {
		var data struct{ Pool netip.Prefix }
		if json.Unmarshal([]byte(info.IPAMData), &data) == nil && data.Pool.IsValid() {
			n.subnets = append(n.subnets, data.Pool.Masked())
		}
	}
	return n
}

// chooseSubnets returns the engine's subnets. It refuses settings of the user's with which
// dockerd could not start.
func (l *launch) chooseSubnets() (namespaces.Subnets, error) {
	routes, err := namespaces.HostRoutes()
	if err != nil {
		return namespaces.Subnets{}, fmt.Errorf("routes: %w", err)
	}
	networks, err := readNetworks(l.cfg.Paths.Data)
	if err != nil {
		// The engine may start with any choice, or reports an error of its own.
		l.cfg.Log.Warn("the engine's networks are not known", "error", err)
	}
	var own []netip.Prefix
	bridge, err := netip.ParsePrefix(l.user.text("bip"))
	if err == nil {
		own = append(own, bridge.Masked())
	}
	for _, n := range networks {
		own = append(own, n.subnets...)
		for _, subnet := range n.subnets {
			for _, route := range routes {
				if namespaces.HostUses(route) && route.Overlaps(subnet) {
					l.cfg.Log.Warn("a network of the engine covers one of the host's, which containers can't reach", "network", n.name, "subnet", subnet, "route", route)
				}
			}
			if bridge.IsValid() && bridge.Overlaps(subnet) {
				return namespaces.Subnets{}, failure.WithHint(failure.Refuse("the bridge's network %q (bip) overlaps %s of the engine's network %q", bridge, subnet, n.name),
					"choose another `bip`, or leave it out")
			}
		}
	}
	subnets := namespaces.ChooseSubnets(routes, own, l.former.Subnets)
	subnets.IPv6 = namespaces.HostIPv6()
	return subnets, nil
}

// RemoveBridge removes the bridge of a name, if there is one, from the running engine's network
// namespace. The engine's client has made it.
func (c *Config) RemoveBridge(ctx context.Context, name string) error {
	return c.namespaces().RemoveBridge(ctx, c.readEngineFile().Engine, name)
}

package objects

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/docker-rd/docker-rd/commands/output"
	"github.com/docker-rd/docker-rd/mirror/state"
)

type networkRow struct {
	follows
	CreatedAt string
	Driver    string
	ID        string
	IPv4      string
	IPv6      string
	Internal  string
	Labels    string
	Name      string
	Scope     string

	network *state.Network
}

// Label returns the value of a label.
func (r *networkRow) Label(name string) string { return r.network.Labels[name] }

// The following are not in docker's lists.

// Subnets and Gateways return the addresses of the network.
func (r *networkRow) Subnets() string  { return strings.Join(r.network.Subnets, ",") }
func (r *networkRow) Gateways() string { return strings.Join(r.network.Gateways, ",") }

// Attachable reports whether containers beside a swarm's can connect to it.
func (r *networkRow) Attachable() bool { return r.network.Attachable }

// Options returns the options of the driver.
func (r *networkRow) Options() string { return joinLabels(r.network.Options) }

// Project returns what Docker Compose made the network for.
func (r *networkRow) Project() string { return project(r.network.Compose) }

// Networks returns the kind of networks.
func Networks() *Kind {
	return &Kind{
		Kind: state.Networks, singular: "network", Aliases: []string{"net"},
		layout:  output.Layout{Table: "{{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.Scope}}", Key: "{{.ID}}", Titles: map[string]string{"ID": "NETWORK ID"}},
		empty:   &networkRow{network: &state.Network{}},
		Filters: []string{"dangling", "driver", "id", "label", "name", "scope", "type"},
		entries: func(s *state.State) (all []entry) {
			for id, n := range s.Networks {
				all = append(all, entry{id, []string{n.Name}, n.CreatedAt, n.Driver, n.Labels})
			}
			return all
		},
		about: func(s *state.State, key string) []string {
			n := s.Networks[key]
			return append([]string{n.Driver}, n.Subnets...)
		},
		match: matchNetworks,
		rows: func(v *view, key string) []row {
			n := v.Networks[key]
			return []row{&networkRow{
				follows: follows{Deletion: describeDeletion(n.Deletion)}, CreatedAt: n.CreatedAt.String(), Driver: n.Driver, ID: v.id(n.ID),
				IPv4: strconv.FormatBool(hasIPv4(n.Subnets)), IPv6: strconv.FormatBool(n.IPv6), Internal: strconv.FormatBool(n.Internal),
				Labels: joinLabels(n.Labels), Name: n.Name, Scope: n.Scope, network: &n,
			}}
		},
	}
}

// hasIPv4 derives from the subnets what only engines since 28 report: IPv4 is on unless all
// subnets are IPv6.
func hasIPv4(subnets []string) bool {
	return len(subnets) == 0 || slices.ContainsFunc(subnets, func(s string) bool { return strings.Contains(s, ".") })
}

// predefined are moby's predefined networks.
var predefined = []string{"bridge", "host", "none", "default"}

// matchNetworks compiles the filters of moby's daemon/network/filter.go.
func matchNetworks(v *view, f filterSet) (func(key string) bool, error) {
	dangling, wanted, err := f.bool("dangling")
	if err != nil {
		return nil, err
	}
	err = f.each("type", func(value string) error {
		if value != "builtin" && value != "custom" {
			return fmt.Errorf("it can be builtin or custom")
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	used := map[string]bool{}
	for _, c := range v.Containers {
		if c.State == state.StateRunning || c.State == state.StatePaused {
			for _, n := range c.Networks {
				used[n.ID] = true
			}
		}
	}
	named, hasID := f.matching("name"), f.matching("id")
	return func(key string) bool {
		n := v.Networks[key]
		builtin := slices.Contains(predefined, n.Name)
		return named(n.Name) && hasID(n.ID) && f.is("driver", n.Driver) && f.is("scope", n.Scope) && f.labels(n.Labels) &&
			(!wanted || dangling != (builtin || used[key])) &&
			f.anyOf("type", func(value string) bool { return (value == "builtin") == builtin })
	}, nil
}

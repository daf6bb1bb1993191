package mirror

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/api/types/network"

	"github.com/docker-rd/docker-rd/internal/jsonscan"
	"github.com/docker-rd/docker-rd/mirror/state"
)

// Here the engine's answers become our objects. Only what the mirror holds is read of
// them, so an engine may answer whatever it likes in all else; and it is read by hand,
// because to fill docker's own types took half of the time of a sync. The tests hold
// what comes out against those types. What the engine gives in no order is sorted, so
// that the same object always has the same encoding.

type scanner = jsonscan.Scanner

// readListedContainer reads what the list call knows: no details of the run.
func readListedContainer(s *scanner) state.Container {
	var c state.Container
	var names []string
	var status string
	s.Object(func(name string) {
		switch name {
		case "Id":
			c.ID = s.String()
		case "Names":
			names = readStrings(s)
		case "Image":
			c.ImageRef = s.String()
		case "ImageID":
			c.Image = s.String()
		case "Created":
			c.CreatedAt = unixTime(s.Int(64))
		case "Ports":
			c.Ports = jsonscan.List(s, readListedPort)
			sortPorts(c.Ports)
		case "Labels":
			c.Labels = readLabels(s)
		case "State":
			c.State = s.String()
		case "Status":
			status = s.String()
		case "Health":
			c.Health = readHealth(s)
		case "NetworkSettings":
			s.Object(func(name string) {
				if name == "Networks" {
					c.Networks = readAttachments(s)
				} else {
					s.Skip()
				}
			})
		case "Mounts":
			c.Mounts = readMounts(s)
		default:
			s.Skip()
		}
	})
	c.Name, c.State = ownName(names), ContainerState(c.State)
	if c.Health == "" {
		c.Health = healthOf(status)
	}
	return c
}

// readContainer reads what the inspection knows: everything.
func readContainer(s *scanner) state.Container {
	c := state.Container{State: state.StateUnknown, Health: state.HealthNone}
	s.Object(func(name string) {
		switch name {
		case "Id":
			c.ID = s.String()
		case "Name":
			c.Name = strings.TrimPrefix(s.String(), "/")
		case "Image":
			c.Image = s.String()
		case "Path":
			c.Path = s.String()
		case "Args":
			c.Args = readStrings(s)
		case "RestartCount":
			c.RestartCount = int(s.Int(0))
		case "Created":
			c.CreatedAt = parseTime(s.String())
		case "Config":
			s.Object(func(name string) {
				switch name {
				case "Image":
					c.ImageRef = s.String()
				case "Labels":
					c.Labels = readLabels(s)
				default:
					s.Skip()
				}
			})
		case "State":
			readRun(s, &c)
		case "HostConfig":
			s.Object(func(name string) {
				if name == "RestartPolicy" {
					c.RestartPolicy = readRestartPolicy(s)
				} else {
					s.Skip()
				}
			})
		case "NetworkSettings":
			s.Object(func(name string) {
				switch name {
				case "Ports":
					c.Ports = readPorts(s)
				case "Networks":
					c.Networks = readAttachments(s)
				default:
					s.Skip()
				}
			})
		case "Mounts":
			c.Mounts = readMounts(s)
		default:
			s.Skip()
		}
	})
	c.RestartPolicy.Name = cmp.Or(c.RestartPolicy.Name, "no")
	return c
}

// readRun reads the state of a container.
func readRun(s *scanner, c *state.Container) {
	s.Object(func(name string) {
		switch name {
		case "Status":
			c.State = ContainerState(s.String())
		case "Pid":
			c.PID = int(s.Int(0))
		case "ExitCode":
			c.ExitCode = int(s.Int(0))
		case "Error":
			c.Error = s.String()
		case "OOMKilled":
			c.OOMKilled = s.Bool()
		case "StartedAt":
			c.StartedAt = parseTime(s.String())
		case "FinishedAt":
			c.FinishedAt = parseTime(s.String())
		case "Health":
			c.Health = cmp.Or(readHealth(s), state.HealthNone)
		default:
			s.Skip()
		}
	})
}

func readHealth(s *scanner) (status string) {
	s.Object(func(name string) {
		if name == "Status" {
			status = s.String()
		} else {
			s.Skip()
		}
	})
	return status
}

func readRestartPolicy(s *scanner) (p state.RestartPolicy) {
	s.Object(func(name string) {
		switch name {
		case "Name":
			p.Name = s.String()
		case "MaximumRetryCount":
			p.MaximumRetryCount = int(s.Int(0))
		default:
			s.Skip()
		}
	})
	return p
}

func readListedPort(s *scanner) (p state.Port) {
	s.Object(func(name string) {
		switch name {
		case "IP":
			p.HostIP = s.String()
		case "PrivatePort":
			p.ContainerPort = uint16(s.Uint(16))
		case "PublicPort":
			p.HostPort = uint16(s.Uint(16))
		case "Type":
			p.Protocol = s.String()
		default:
			s.Skip()
		}
	})
	return p
}

// readPorts reads bindings by port.
func readPorts(s *scanner) []state.Port {
	var ports []state.Port
	s.Object(func(name string) {
		port, err := network.ParsePort(name)
		if err != nil {
			s.Fail("a port")
		}
		p := state.Port{ContainerPort: port.Num(), Protocol: string(port.Proto())}
		bindings := jsonscan.List(s, func(s *scanner) state.Port {
			b := p
			s.Object(func(name string) {
				switch name {
				case "HostIp":
					b.HostIP = s.String()
				case "HostPort":
					n, _ := strconv.ParseUint(s.String(), 10, 16)
					b.HostPort = uint16(n)
				default:
					s.Skip()
				}
			})
			return b
		})
		if len(bindings) == 0 {
			bindings = []state.Port{p}
		}
		ports = append(ports, bindings...)
	})
	sortPorts(ports)
	return ports
}

func sortPorts(ports []state.Port) {
	slices.SortFunc(ports, func(a, b state.Port) int {
		return cmp.Or(
			cmp.Compare(a.ContainerPort, b.ContainerPort),
			cmp.Compare(a.Protocol, b.Protocol),
			cmp.Compare(a.HostIP, b.HostIP),
			cmp.Compare(a.HostPort, b.HostPort),
		)
	})
}

func readMounts(s *scanner) []state.Mount {
	mounts := jsonscan.List(s, func(s *scanner) state.Mount {
		m := state.Mount{ReadOnly: true}
		s.Object(func(name string) {
			switch name {
			case "Type":
				m.Type = s.String()
			case "Name":
				m.Name = s.String()
			case "Source":
				m.Source = s.String()
			case "Destination":
				m.Destination = s.String()
			case "RW":
				m.ReadOnly = !s.Bool()
			default:
				s.Skip()
			}
		})
		return m
	})
	slices.SortStableFunc(mounts, func(a, b state.Mount) int { return cmp.Compare(a.Destination, b.Destination) })
	return mounts
}

// readAttachments reads endpoints by network.
func readAttachments(s *scanner) []state.Attachment {
	var list []state.Attachment
	for name, a := range jsonscan.Map(s, func(s *scanner) (a state.Attachment) {
		s.Object(func(name string) {
			switch name {
			case "NetworkID":
				a.ID = s.String()
			case "IPAddress":
				a.IPAddress = s.String()
			case "GlobalIPv6Address":
				a.IPv6Address = s.String()
			default:
				s.Skip()
			}
		})
		return a
	}) {
		a.Name = name
		list = append(list, a)
	}
	slices.SortFunc(list, func(a, b state.Attachment) int { return cmp.Compare(a.Name, b.Name) })
	return list
}

func readListedImage(s *scanner) state.Image {
	var i state.Image
	s.Object(func(name string) {
		switch name {
		case "Id":
			i.ID = s.String()
		case "ParentId":
			i.Parent = s.String()
		case "RepoTags":
			i.RepoTags = references(readStrings(s))
		case "RepoDigests":
			i.RepoDigests = references(readStrings(s))
		case "Created":
			i.CreatedAt = unixTime(s.Int(64))
		case "Size":
			i.Size = s.Int(64)
		case "Labels":
			i.Labels = readLabels(s)
		default:
			s.Skip()
		}
	})
	return i
}

// imageDetails is what an image's inspection knows beyond the list. It never
// changes while the list says the same of the image.
type imageDetails struct {
	arch, os  string
	createdAt time.Time
}

func readImageDetails(s *scanner) *imageDetails {
	var d imageDetails
	s.Object(func(name string) {
		switch name {
		case "Architecture":
			d.arch = s.String()
		case "Os":
			d.os = s.String()
		case "Created":
			d.createdAt = parseTime(s.String())
		default:
			s.Skip()
		}
	})
	return &d
}

// apply adds the details to what the list knows.
func (d *imageDetails) apply(i *state.Image) {
	i.Architecture, i.OS = d.arch, d.os
	if !d.createdAt.IsZero() {
		i.CreatedAt = d.createdAt
	}
}

func readVolume(s *scanner) state.Volume {
	var v state.Volume
	s.Object(func(name string) {
		switch name {
		case "Name":
			v.Name = s.String()
		case "Driver":
			v.Driver = s.String()
		case "Mountpoint":
			v.Mountpoint = s.String()
		case "Scope":
			v.Scope = s.String()
		case "CreatedAt":
			v.CreatedAt = parseTime(s.String())
		case "Labels":
			v.Labels = readLabels(s)
		case "Options":
			v.Options = readLabels(s)
		default:
			s.Skip()
		}
	})
	return v
}

func readNetwork(s *scanner) state.Network {
	var n state.Network
	s.Object(func(name string) {
		switch name {
		case "Id":
			n.ID = s.String()
		case "Name":
			n.Name = s.String()
		case "Driver":
			n.Driver = s.String()
		case "Scope":
			n.Scope = s.String()
		case "Internal":
			n.Internal = s.Bool()
		case "EnableIPv6":
			n.IPv6 = s.Bool()
		case "Labels":
			n.Labels = readLabels(s)
		case "Created":
			n.CreatedAt = parseTime(s.String())
		case "IPAM":
			s.Object(func(name string) {
				if name == "Config" {
					n.Subnets = readSubnets(s)
				} else {
					s.Skip()
				}
			})
		default:
			s.Skip()
		}
	})
	return n
}

func readSubnets(s *scanner) []string {
	var subnets []string
	s.Array(func() {
		s.Object(func(name string) {
			if name != "Subnet" {
				s.Skip()
			} else if subnet := s.String(); subnet != "" {
				subnets = append(subnets, subnet)
			}
		})
	})
	return subnets
}

func readStrings(s *scanner) []string         { return jsonscan.List(s, (*scanner).String) }
func readLabels(s *scanner) map[string]string { return jsonscan.Map(s, (*scanner).String) }

// readEvent reads what the mirror needs to know of an event.
func readEvent(s *scanner) events.Message {
	var e events.Message
	s.Object(func(name string) {
		switch name {
		case "Type":
			e.Type = events.Type(s.String())
		case "Action":
			e.Action = events.Action(s.String())
		case "Actor":
			s.Object(func(name string) {
				switch name {
				case "ID":
					e.Actor.ID = s.String()
				case "Attributes":
					e.Actor.Attributes = readAttributes(s)
				default:
					s.Skip()
				}
			})
		case "timeNano":
			e.TimeNano = s.Int(64)
		default:
			s.Skip()
		}
	})
	return e
}

// readAttributes reads the one attribute that says more than the actor: of which
// container a network tells.
func readAttributes(s *scanner) (attributes map[string]string) {
	s.Object(func(name string) {
		if name == containerAttribute {
			attributes = map[string]string{name: s.String()}
		} else {
			s.Skip()
		}
	})
	return attributes
}

// ownName returns a container's own name among those it has. Legacy links give it
// others, below the name of the container that links to it.
func ownName(names []string) string {
	for _, name := range names {
		if name = strings.TrimPrefix(name, "/"); !strings.Contains(name, "/") {
			return name
		}
	}
	return ""
}

// ContainerState maps podman's states, which its Docker API does not always
// translate, to docker's.
func ContainerState(s string) string {
	switch s {
	case state.StateCreated, state.StateRunning, state.StatePaused, state.StateRestarting,
		state.StateRemoving, state.StateExited, state.StateDead:
		return s
	case "configured", "initialized":
		return state.StateCreated
	case "stopping":
		return state.StateRunning
	case "stopped":
		return state.StateExited
	}
	return state.StateUnknown
}

// healthOf reads the health from the list call's text for people: engines before API
// 1.52 say it nowhere else there. It is empty where the text says nothing about it.
func healthOf(status string) string {
	switch {
	case strings.HasSuffix(status, "(healthy)"):
		return state.HealthHealthy
	case strings.HasSuffix(status, "(unhealthy)"):
		return state.HealthUnhealthy
	case strings.HasSuffix(status, "(health: starting)"):
		return state.HealthStarting
	}
	return ""
}

// references leaves out "<none>:<none>" and "<none>@<none>", with which engines
// before API 1.43 say that there are none.
func references(in []string) []string {
	out := slices.DeleteFunc(in, func(r string) bool { return strings.HasPrefix(r, "<none>") })
	slices.Sort(out)
	return out
}

func unixTime(seconds int64) time.Time {
	if seconds <= 0 {
		return time.Time{}
	}
	return sensible(time.Unix(seconds, 0))
}

// parseTime returns the zero time for an empty string and anything else that is no
// time.
func parseTime(s string) time.Time {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return time.Time{}
	}
	return sensible(t)
}

// sensible returns the zero time for the engine's, which is in the year 1, and for what
// RFC 3339 can't write.
func sensible(t time.Time) time.Time {
	if t = t.UTC(); t.Year() <= 1 || t.Year() > 9999 {
		return time.Time{}
	}
	return t
}

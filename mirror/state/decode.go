package state

import (
	"encoding/json"
	"maps"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
)

// decode reads a state as encoding/json does, but faster, or fails with errScan. The
// tests hold the two against each other.
func decode(text string) (*State, error) {
	if procs := runtime.GOMAXPROCS(0); procs > 1 && len(text) >= 2*partSize {
		if s, err := decodeParts(text, max(partSize, len(text)/procs/2)); err == nil {
			return s, nil
		}
	}
	s := &scanner{text: text}
	var state State
	s.object(func(name string) { s.field(&state, name) })
	if s.next() != 0 || s.err != nil {
		return nil, errScan
	}
	return &state, nil
}

// partSize is how much text is worth a goroutine.
const partSize = 256 << 10

// decodeParts reads the parts of a state beside each other, each of about the size. The
// state must be laid out as it is written: a line for each object, and one where each
// kind begins. Within an object there is no line break: strings have none.
func decodeParts(text string, size int) (*State, error) {
	head, rest, ok := strings.Cut(text, ",\n\"containers\":{")
	containers, rest, ok1 := strings.Cut(rest, "},\n\"images\":{")
	images, rest, ok2 := strings.Cut(rest, "},\n\"volumes\":{")
	volumes, rest, ok3 := strings.Cut(rest, "},\n\"networks\":{")
	networks, rest, ok4 := strings.Cut(rest, "},\n\"namespaces\":{")
	namespaces, tail, ok5 := strings.Cut(rest, "},\n\"deleted\":")
	if !ok || !ok1 || !ok2 || !ok3 || !ok4 || !ok5 {
		return nil, errScan
	}
	p := &parts{size: size}
	allContainers := inParts(p, containers, (*scanner).container)
	allImages := inParts(p, images, (*scanner).image)
	allVolumes := inParts(p, volumes, (*scanner).volume)
	allNetworks := inParts(p, networks, (*scanner).network)
	allNamespaces := inParts(p, namespaces, (*scanner).namespace)

	var state State
	s := &scanner{text: head}
	s.expect('{')
	s.pairs(func(name string) { s.field(&state, name) })
	end := &scanner{text: tail}
	end.field(&state, "deleted")
	end.expect(',')
	if end.string() != "deletedSince" {
		end.fail()
	}
	end.expect(':')
	end.field(&state, "deletedSince")
	end.expect('}')

	p.group.Wait()
	if p.failed.Load() || s.err != nil || end.err != nil || end.next() != 0 {
		return nil, errScan
	}
	state.Containers, state.Images, state.Volumes = allContainers(), allImages(), allVolumes()
	state.Networks, state.Namespaces = allNetworks(), allNamespaces()
	return &state, nil
}

type parts struct {
	size   int
	group  sync.WaitGroup
	failed atomic.Bool
}

// inParts reads the objects of a kind. What they are is to be asked for after the group
// is done.
func inParts[T any](p *parts, text string, one func(*scanner) T) func() map[string]T {
	var found []map[string]T
	for more := true; more; {
		part := text
		more = false
		if len(text) > p.size {
			if i := strings.Index(text[p.size:], ",\n\""); i >= 0 {
				part, text, more = text[:p.size+i], text[p.size+i+1:], true
			}
		}
		m := map[string]T{}
		found = append(found, m)
		p.group.Go(func() {
			s := &scanner{text: part}
			s.pairs(func(key string) { m[key] = one(s) })
			if s.err != nil {
				p.failed.Store(true)
			}
		})
	}
	return func() map[string]T {
		for _, m := range found[1:] {
			maps.Copy(found[0], m)
		}
		return found[0]
	}
}

// field reads a field of the state.
func (s *scanner) field(state *State, name string) {
	// What is small is left to encoding/json.
	small := func(field any) {
		text := s.value()
		if s.err == nil && json.Unmarshal([]byte(text), field) != nil {
			s.fail()
		}
	}
	switch name {
	case "schemaVersion":
		state.SchemaVersion = int(s.int(0))
	case "revision":
		state.Revision = s.uint(64)
	case "writtenAt":
		state.WrittenAt = s.time()
	case "supervisor":
		small(&state.Supervisor)
	case "instance":
		small(&state.Instance)
	case "engine":
		small(&state.Engine)
	case "conditions":
		small(&state.Conditions)
	case "mirror":
		small(&state.Mirror)
	case "containers":
		state.Containers = decodeMap(s, s.container)
	case "images":
		state.Images = decodeMap(s, s.image)
	case "volumes":
		state.Volumes = decodeMap(s, s.volume)
	case "networks":
		state.Networks = decodeMap(s, s.network)
	case "namespaces":
		state.Namespaces = decodeMap(s, s.namespace)
	case "deleted":
		state.Deleted = []Deleted{}
		s.array(func() { state.Deleted = append(state.Deleted, s.deleted()) })
	case "deletedSince":
		state.DeletedSince = s.uint(64)
	default:
		s.skip(0)
	}
}

func decodeMap[T any](s *scanner, one func() T) map[string]T {
	m := map[string]T{}
	s.object(func(key string) { m[key] = one() })
	return m
}

func (s *scanner) container() Container {
	var c Container
	s.object(func(name string) {
		switch name {
		case "id":
			c.ID = s.string()
		case "name":
			c.Name = s.string()
		case "namespace":
			c.Namespace = s.string()
		case "image":
			c.Image = s.string()
		case "imageRef":
			c.ImageRef = s.string()
		case "path":
			c.Path = s.string()
		case "args":
			c.Args = s.strings()
		case "labels":
			c.Labels = s.stringMap()
		case "state":
			c.State = s.string()
		case "health":
			c.Health = s.string()
		case "pid":
			c.PID = int(s.int(0))
		case "exitCode":
			c.ExitCode = int(s.int(0))
		case "error":
			c.Error = s.string()
		case "oomKilled":
			c.OOMKilled = s.bool()
		case "restartCount":
			c.RestartCount = int(s.int(0))
		case "restartPolicy":
			c.RestartPolicy = s.restartPolicy()
		case "createdAt":
			c.CreatedAt = s.time()
		case "startedAt":
			c.StartedAt = s.time()
		case "finishedAt":
			c.FinishedAt = s.time()
		case "ports":
			c.Ports = []Port{}
			s.array(func() { c.Ports = append(c.Ports, s.port()) })
		case "mounts":
			c.Mounts = []Mount{}
			s.array(func() { c.Mounts = append(c.Mounts, s.mount()) })
		case "networks":
			c.Networks = []Attachment{}
			s.array(func() { c.Networks = append(c.Networks, s.attachment()) })
		case "lastAction":
			c.LastAction = s.lastAction()
		case "deletion":
			d := s.deletion()
			c.Deletion = &d
		default:
			s.meta(&c.Meta, name)
		}
	})
	return c
}

// meta reads a field that every object has, or one that is not known.
func (s *scanner) meta(m *Meta, name string) {
	switch name {
	case "addedRevision":
		m.AddedRevision = s.uint(64)
	case "revision":
		m.Revision = s.uint(64)
	default:
		s.skip(0)
	}
}

func (s *scanner) restartPolicy() RestartPolicy {
	var p RestartPolicy
	s.object(func(name string) {
		switch name {
		case "name":
			p.Name = s.string()
		case "maximumRetryCount":
			p.MaximumRetryCount = int(s.int(0))
		default:
			s.skip(0)
		}
	})
	return p
}

func (s *scanner) port() Port {
	var p Port
	s.object(func(name string) {
		switch name {
		case "containerPort":
			p.ContainerPort = uint16(s.uint(16))
		case "protocol":
			p.Protocol = s.string()
		case "hostIP":
			p.HostIP = s.string()
		case "hostPort":
			p.HostPort = uint16(s.uint(16))
		default:
			s.skip(0)
		}
	})
	return p
}

func (s *scanner) mount() Mount {
	var m Mount
	s.object(func(name string) {
		switch name {
		case "type":
			m.Type = s.string()
		case "name":
			m.Name = s.string()
		case "source":
			m.Source = s.string()
		case "destination":
			m.Destination = s.string()
		case "readOnly":
			m.ReadOnly = s.bool()
		default:
			s.skip(0)
		}
	})
	return m
}

func (s *scanner) attachment() Attachment {
	var a Attachment
	s.object(func(name string) {
		switch name {
		case "name":
			a.Name = s.string()
		case "id":
			a.ID = s.string()
		case "ipAddress":
			a.IPAddress = s.string()
		case "ipv6Address":
			a.IPv6Address = s.string()
		default:
			s.skip(0)
		}
	})
	return a
}

func (s *scanner) lastAction() *LastAction {
	var a LastAction
	s.object(func(name string) {
		switch name {
		case "request":
			a.Request = s.string()
		case "action":
			a.Action = s.string()
		case "state":
			a.State = s.string()
		case "error":
			a.Error = s.string()
		case "requestedAt":
			a.RequestedAt = s.time()
		case "completedAt":
			a.CompletedAt = s.time()
		default:
			s.skip(0)
		}
	})
	return &a
}

func (s *scanner) deletion() Deletion {
	var d Deletion
	s.object(func(name string) {
		switch name {
		case "request":
			d.Request = s.string()
		case "requestedAt":
			d.RequestedAt = s.time()
		case "error":
			d.Error = s.string()
		default:
			s.skip(0)
		}
	})
	return d
}

func (s *scanner) image() Image {
	var i Image
	s.object(func(name string) {
		switch name {
		case "id":
			i.ID = s.string()
		case "namespace":
			i.Namespace = s.string()
		case "parent":
			i.Parent = s.string()
		case "repoTags":
			i.RepoTags = s.strings()
		case "repoDigests":
			i.RepoDigests = s.strings()
		case "createdAt":
			i.CreatedAt = s.time()
		case "size":
			i.Size = s.int(64)
		case "architecture":
			i.Architecture = s.string()
		case "os":
			i.OS = s.string()
		case "labels":
			i.Labels = s.stringMap()
		case "deletions":
			i.Deletions = decodeMap(s, s.deletion)
		default:
			s.meta(&i.Meta, name)
		}
	})
	return i
}

func (s *scanner) volume() Volume {
	var v Volume
	s.object(func(name string) {
		switch name {
		case "name":
			v.Name = s.string()
		case "namespace":
			v.Namespace = s.string()
		case "driver":
			v.Driver = s.string()
		case "mountpoint":
			v.Mountpoint = s.string()
		case "scope":
			v.Scope = s.string()
		case "createdAt":
			v.CreatedAt = s.time()
		case "labels":
			v.Labels = s.stringMap()
		case "options":
			v.Options = s.stringMap()
		case "deletion":
			d := s.deletion()
			v.Deletion = &d
		default:
			s.meta(&v.Meta, name)
		}
	})
	return v
}

func (s *scanner) network() Network {
	var n Network
	s.object(func(name string) {
		switch name {
		case "id":
			n.ID = s.string()
		case "name":
			n.Name = s.string()
		case "namespace":
			n.Namespace = s.string()
		case "driver":
			n.Driver = s.string()
		case "scope":
			n.Scope = s.string()
		case "internal":
			n.Internal = s.bool()
		case "ipv6":
			n.IPv6 = s.bool()
		case "subnets":
			n.Subnets = s.strings()
		case "labels":
			n.Labels = s.stringMap()
		case "createdAt":
			n.CreatedAt = s.time()
		case "deletion":
			d := s.deletion()
			n.Deletion = &d
		default:
			s.meta(&n.Meta, name)
		}
	})
	return n
}

func (s *scanner) namespace() Namespace {
	var n Namespace
	s.object(func(name string) {
		if name == "name" {
			n.Name = s.string()
			return
		}
		s.meta(&n.Meta, name)
	})
	return n
}

func (s *scanner) deleted() Deleted {
	var d Deleted
	s.object(func(name string) {
		switch name {
		case "kind":
			d.Kind = Kind(s.string())
		case "id":
			d.ID = s.string()
		case "revision":
			d.Revision = s.uint(64)
		default:
			s.skip(0)
		}
	})
	return d
}

package state

import (
	"encoding/json"
)

// decode reads a state as encoding/json does, but faster, or fails with errScan.
// TestDecode and FuzzDecode hold the two against each other.
func decode(text string) (*State, error) {
	s := &scanner{text: text}
	var state State
	// What is small is left to encoding/json.
	small := func(field any) {
		text := s.value()
		if s.err == nil && json.Unmarshal([]byte(text), field) != nil {
			s.fail()
		}
	}
	s.object(func(name string) {
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
	})
	if s.next() != 0 || s.err != nil {
		return nil, errScan
	}
	return &state, nil
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

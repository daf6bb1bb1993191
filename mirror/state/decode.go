package state

import (
	"encoding/json"
	"errors"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/docker-rd/docker-rd/internal/jsonscan"
)

// A scanner's strings share the memory of the file's text.
type scanner = jsonscan.Scanner

// decode reads a state as encoding/json does, but faster, or fails. The tests hold the
// two against each other.
func decode(text string) (*State, error) {
	if procs := runtime.GOMAXPROCS(0); procs > 1 && len(text) >= 2*partSize {
		if s, err := decodeParts(text, max(partSize, len(text)/procs/2)); err == nil {
			return s, nil
		}
	}
	s := jsonscan.NewSharing(text)
	var state State
	s.Object(func(name string) { readField(s, &state, name) })
	if err := s.End(); err != nil {
		return nil, err
	}
	return &state, nil
}

// errLayout says that a state is not laid out as it is written.
var errLayout = errors.New("not as the state file is written")

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
		return nil, errLayout
	}
	p := &parts{size: size}
	allContainers := inParts(p, containers, readContainer)
	allImages := inParts(p, images, readImage)
	allVolumes := inParts(p, volumes, readVolume)
	allNetworks := inParts(p, networks, readNetwork)
	allNamespaces := inParts(p, namespaces, readNamespace)

	var state State
	s := jsonscan.NewSharing(head)
	s.Expect('{')
	s.Fields(func(name string) { readField(s, &state, name) })
	end := jsonscan.NewSharing(tail)
	readField(end, &state, "deleted")
	end.Expect(',')
	if end.String() != "deletedSince" {
		end.Fail("deletedSince")
	}
	end.Expect(':')
	readField(end, &state, "deletedSince")
	end.Expect('}')

	p.group.Wait()
	if p.failed.Load() || s.End() != nil || end.End() != nil {
		return nil, errLayout
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
	type pair struct {
		key   string
		value T
	}
	var found []*[]pair // of each part
	for more := true; more; {
		part := text
		more = false
		if len(text) > p.size {
			if i := strings.Index(text[p.size:], ",\n\""); i >= 0 {
				part, text, more = text[:p.size+i], text[p.size+i+1:], true
			}
		}
		pairs := new([]pair)
		found = append(found, pairs)
		p.group.Go(func() {
			*pairs = make([]pair, 0, strings.Count(part, "\n"))
			s := jsonscan.NewSharing(part)
			s.Fields(func(key string) { *pairs = append(*pairs, pair{key, one(s)}) })
			if s.End() != nil {
				p.failed.Store(true)
			}
		})
	}
	return func() map[string]T {
		size := 0
		for _, pairs := range found {
			size += len(*pairs)
		}
		all := make(map[string]T, size)
		for _, pairs := range found {
			for _, p := range *pairs {
				all[p.key] = p.value
			}
		}
		return all
	}
}

// readField reads a field of the state.
func readField(s *scanner, state *State, name string) {
	// What is small is left to encoding/json.
	small := func(field any) {
		text := s.Value()
		if s.Err() == nil && json.Unmarshal([]byte(text), field) != nil {
			s.Fail("another value")
		}
	}
	switch name {
	case "schemaVersion":
		state.SchemaVersion = int(s.Int(0))
	case "revision":
		state.Revision = s.Uint(64)
	case "writtenAt":
		state.WrittenAt = s.Time()
	case "supervisor":
		small(&state.Supervisor)
	case "instance":
		small(&state.Instance)
	case "engine":
		small(&state.Engine)
	case "conditions":
		small(&state.Conditions)
	case "lastFailure":
		small(&state.LastFailure)
	case "mirror":
		small(&state.Mirror)
	case "containers":
		state.Containers = jsonscan.Map(s, readContainer)
	case "images":
		state.Images = jsonscan.Map(s, readImage)
	case "volumes":
		state.Volumes = jsonscan.Map(s, readVolume)
	case "networks":
		state.Networks = jsonscan.Map(s, readNetwork)
	case "namespaces":
		state.Namespaces = jsonscan.Map(s, readNamespace)
	case "deleted":
		state.Deleted = jsonscan.List(s, readDeleted)
	case "deletedSince":
		state.DeletedSince = s.Uint(64)
	default:
		s.Skip()
	}
}

func pointer[T any](s *scanner, one func(*scanner) T) *T {
	if s.Null() {
		return nil
	}
	v := one(s)
	return &v
}

func readContainer(s *scanner) Container {
	var c Container
	s.Object(func(name string) {
		switch name {
		case "id":
			c.ID = s.String()
		case "name":
			c.Name = s.String()
		case "namespace":
			c.Namespace = s.String()
		case "image":
			c.Image = s.String()
		case "imageRef":
			c.ImageRef = s.String()
		case "path":
			c.Path = s.String()
		case "args":
			c.Args = jsonscan.List(s, (*scanner).String)
		case "labels":
			c.Labels = jsonscan.Map(s, (*scanner).String)
		case "state":
			c.State = s.String()
		case "health":
			c.Health = s.String()
		case "pid":
			c.PID = int(s.Int(0))
		case "exitCode":
			c.ExitCode = int(s.Int(0))
		case "error":
			c.Error = s.String()
		case "oomKilled":
			c.OOMKilled = s.Bool()
		case "restartCount":
			c.RestartCount = int(s.Int(0))
		case "restartPolicy":
			c.RestartPolicy = readRestartPolicy(s)
		case "createdAt":
			c.CreatedAt = s.Time()
		case "startedAt":
			c.StartedAt = s.Time()
		case "finishedAt":
			c.FinishedAt = s.Time()
		case "ports":
			c.Ports = jsonscan.List(s, readPort)
		case "mounts":
			c.Mounts = jsonscan.List(s, readMount)
		case "networks":
			c.Networks = jsonscan.List(s, readAttachment)
		case "lastAction":
			c.LastAction = pointer(s, readLastAction)
		case "deletion":
			c.Deletion = pointer(s, readDeletion)
		default:
			readMeta(s, &c.Meta, name)
		}
	})
	return c
}

// readMeta reads a field that every object has, or one that is not known.
func readMeta(s *scanner, m *Meta, name string) {
	switch name {
	case "addedRevision":
		m.AddedRevision = s.Uint(64)
	case "revision":
		m.Revision = s.Uint(64)
	default:
		s.Skip()
	}
}

func readRestartPolicy(s *scanner) RestartPolicy {
	var p RestartPolicy
	s.Object(func(name string) {
		switch name {
		case "name":
			p.Name = s.String()
		case "maximumRetryCount":
			p.MaximumRetryCount = int(s.Int(0))
		default:
			s.Skip()
		}
	})
	return p
}

func readPort(s *scanner) Port {
	var p Port
	s.Object(func(name string) {
		switch name {
		case "containerPort":
			p.ContainerPort = uint16(s.Uint(16))
		case "protocol":
			p.Protocol = s.String()
		case "hostIP":
			p.HostIP = s.String()
		case "hostPort":
			p.HostPort = uint16(s.Uint(16))
		default:
			s.Skip()
		}
	})
	return p
}

func readMount(s *scanner) Mount {
	var m Mount
	s.Object(func(name string) {
		switch name {
		case "type":
			m.Type = s.String()
		case "name":
			m.Name = s.String()
		case "source":
			m.Source = s.String()
		case "destination":
			m.Destination = s.String()
		case "readOnly":
			m.ReadOnly = s.Bool()
		default:
			s.Skip()
		}
	})
	return m
}

func readAttachment(s *scanner) Attachment {
	var a Attachment
	s.Object(func(name string) {
		switch name {
		case "name":
			a.Name = s.String()
		case "id":
			a.ID = s.String()
		case "ipAddress":
			a.IPAddress = s.String()
		case "ipv6Address":
			a.IPv6Address = s.String()
		default:
			s.Skip()
		}
	})
	return a
}

func readLastAction(s *scanner) LastAction {
	var a LastAction
	s.Object(func(name string) {
		switch name {
		case "request":
			a.Request = s.String()
		case "action":
			a.Action = s.String()
		case "state":
			a.State = s.String()
		case "error":
			a.Error = s.String()
		case "requestedAt":
			a.RequestedAt = s.Time()
		case "completedAt":
			a.CompletedAt = s.Time()
		default:
			s.Skip()
		}
	})
	return a
}

func readDeletion(s *scanner) Deletion {
	var d Deletion
	s.Object(func(name string) {
		switch name {
		case "request":
			d.Request = s.String()
		case "requestedAt":
			d.RequestedAt = s.Time()
		case "error":
			d.Error = s.String()
		default:
			s.Skip()
		}
	})
	return d
}

func readImage(s *scanner) Image {
	var i Image
	s.Object(func(name string) {
		switch name {
		case "id":
			i.ID = s.String()
		case "namespace":
			i.Namespace = s.String()
		case "parent":
			i.Parent = s.String()
		case "repoTags":
			i.RepoTags = jsonscan.List(s, (*scanner).String)
		case "repoDigests":
			i.RepoDigests = jsonscan.List(s, (*scanner).String)
		case "createdAt":
			i.CreatedAt = s.Time()
		case "size":
			i.Size = s.Int(64)
		case "architecture":
			i.Architecture = s.String()
		case "os":
			i.OS = s.String()
		case "labels":
			i.Labels = jsonscan.Map(s, (*scanner).String)
		case "deletions":
			i.Deletions = jsonscan.Map(s, readDeletion)
		default:
			readMeta(s, &i.Meta, name)
		}
	})
	return i
}

func readVolume(s *scanner) Volume {
	var v Volume
	s.Object(func(name string) {
		switch name {
		case "name":
			v.Name = s.String()
		case "namespace":
			v.Namespace = s.String()
		case "driver":
			v.Driver = s.String()
		case "mountpoint":
			v.Mountpoint = s.String()
		case "scope":
			v.Scope = s.String()
		case "createdAt":
			v.CreatedAt = s.Time()
		case "labels":
			v.Labels = jsonscan.Map(s, (*scanner).String)
		case "options":
			v.Options = jsonscan.Map(s, (*scanner).String)
		case "deletion":
			v.Deletion = pointer(s, readDeletion)
		default:
			readMeta(s, &v.Meta, name)
		}
	})
	return v
}

func readNetwork(s *scanner) Network {
	var n Network
	s.Object(func(name string) {
		switch name {
		case "id":
			n.ID = s.String()
		case "name":
			n.Name = s.String()
		case "namespace":
			n.Namespace = s.String()
		case "driver":
			n.Driver = s.String()
		case "scope":
			n.Scope = s.String()
		case "internal":
			n.Internal = s.Bool()
		case "ipv6":
			n.IPv6 = s.Bool()
		case "subnets":
			n.Subnets = jsonscan.List(s, (*scanner).String)
		case "labels":
			n.Labels = jsonscan.Map(s, (*scanner).String)
		case "createdAt":
			n.CreatedAt = s.Time()
		case "deletion":
			n.Deletion = pointer(s, readDeletion)
		default:
			readMeta(s, &n.Meta, name)
		}
	})
	return n
}

func readNamespace(s *scanner) Namespace {
	var n Namespace
	s.Object(func(name string) {
		if name == "name" {
			n.Name = s.String()
			return
		}
		readMeta(s, &n.Meta, name)
	})
	return n
}

func readDeleted(s *scanner) Deleted {
	var d Deleted
	s.Object(func(name string) {
		switch name {
		case "kind":
			d.Kind = Kind(s.String())
		case "id":
			d.ID = s.String()
		case "revision":
			d.Revision = s.Uint(64)
		default:
			s.Skip()
		}
	})
	return d
}

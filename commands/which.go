package commands

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/containerd/errdefs"

	"github.com/docker-rd/docker-rd/dockercontext"
	"github.com/docker-rd/docker-rd/instance"
	"github.com/docker-rd/docker-rd/instance/contexts"
	"github.com/docker-rd/docker-rd/internal/endpoint"
	"github.com/docker-rd/docker-rd/internal/failure"
)

// A choice is the instance that a command is about.
type choice struct {
	name  string
	typed bool   // as an argument or by --instance
	note  string // why it is this one, if that may surprise
	// foreign names what told docker explicitly to use another engine, "" if nothing did.
	foreign string
}

// choose returns the instance that a command is about: its argument, --instance,
// $DOCKER_RD_INSTANCE, the owner of the context that docker would use here, or the default.
func (a *app) choose(args []string) (choice, error) {
	c := choice{name: instance.DefaultName}
	switch env := os.Getenv(instanceEnv); {
	case len(args) > 0 && a.instance.given && args[0] != a.instance.value:
		return c, failure.Usage("two instances are named: %q and --instance %q", args[0], a.instance.value)
	case len(args) > 0:
		c.name, c.typed = args[0], true
	case a.instance.given:
		c.name, c.typed = a.instance.value, true
	case env != "":
		c.name = env
	default:
		return a.chooseByContext()
	}
	if err := instance.CheckName(c.name); err != nil {
		return c, err
	}
	c.foreign = a.typedElsewhere(c.name)
	return c, nil
}

// typedElsewhere returns which engine was typed for docker, if that is none of the
// instances': it must not be ignored, although they were named.
func (a *app) typedElsewhere(names ...string) string {
	s := a.shellContext()
	if s.by != "--context" && s.by != "--host" || slices.Contains(names, s.instance) {
		return ""
	}
	return s.text
}

func (a *app) chooseByContext() (choice, error) {
	switch s := a.shellContext(); {
	case s.instance != "" && s.instance != instance.DefaultName:
		return choice{name: s.instance, note: s.text}, nil
	case s.instance != "" || s.by == "":
		return choice{name: instance.DefaultName}, nil
	case s.by == "DOCKER_HOST":
		// Build machines set it for everything: nobody named an engine for this very command.
		return choice{name: instance.DefaultName, note: s.text + " is not docker rd's"}, nil
	default:
		return choice{name: instance.DefaultName, note: s.text + " is not docker rd's", foreign: s.text}, nil
	}
}

// chooseForObjects is choose for commands that read or change an engine's objects. They
// refuse to work on another engine than docker was told to use.
func (a *app) chooseForObjects(args []string) (choice, error) {
	c, err := a.choose(args)
	if err != nil || c.foreign == "" {
		return c, err
	}
	return c, foreign(c.foreign, "get -i "+c.name+" containers", c.name)
}

// chooseToEnd is choose for commands that end an engine. Unless the instance was typed, they
// refuse to end another engine than docker was told to use.
func (a *app) chooseToEnd(verb string) func(args []string) (choice, error) {
	return func(args []string) (choice, error) {
		c, err := a.choose(args)
		if err != nil || c.foreign == "" || c.typed {
			return c, err
		}
		return c, foreign(c.foreign, verb+" "+c.name, c.name)
	}
}

// foreign refuses instances because docker was told to use another engine.
func foreign(told, instead string, names ...string) error {
	hint := "name the instance and no context: `docker-rd " + instead + "`"
	if known, _ := instanceNames(); !slices.Contains(known, names[0]) {
		hint = "name an instance and no context: `docker-rd ls` lists the instances"
	}
	for i, name := range names {
		names[i] = strconv.Quote(name)
	}
	return failure.WithHint(failure.Refuse("%s is not the engine of instance %s", told, strings.Join(names, " or ")), "%s", hint)
}

// where returns the instance for the end of a message, "" if it was typed.
func (c choice) where() string {
	if c.typed {
		return ""
	}
	return fmt.Sprintf(" (instance %q)", c.name)
}

// noted returns the choice with a note on it, if it is a surprising one, for commands whose
// output does not name the instance.
func (a *app) noted(c choice, err error) (choice, error) {
	if err == nil && c.note != "" {
		a.note("instance %q: %s", c.name, c.note)
	}
	return c, err
}

// A shellContext is the context or host that docker would use here.
type shellContext struct {
	by       string // the flag or variable that names it, "" for config.json
	text     string // for messages
	instance string // whose it is, "" if it is not ours
}

func (a *app) shellContext() shellContext {
	docker, err := shellContexts(a.root)
	if err != nil {
		return shellContext{}
	}
	name, by := docker.InForce()
	s := shellContext{by: by}
	switch by {
	case "--host", "DOCKER_HOST":
		ep, _ := docker.Endpoint(endpoint.DefaultContext)
		s.text, s.instance = by+" "+ep.Shown(), instanceAt(ep.Host)
	case "":
		s.text, s.instance = fmt.Sprintf("the current context is %q", name), ownedBy(docker, name)
	default:
		s.text, s.instance = fmt.Sprintf("%s %q", by, name), ownedBy(docker, name)
		if s.instance == "" {
			s.instance = adopterOf(docker, name)
		}
	}
	return s
}

// ownedBy returns the instance that owns a context: by its metadata, or by its name while it
// does not exist because the instance is stopped.
func ownedBy(docker *dockercontext.Config, name string) string {
	owner, ok := docker.OwnerOf(name)
	if !ok {
		if _, err := docker.Endpoint(name); !errdefs.IsNotFound(err) {
			return ""
		}
		owner.Context = name
	}
	names, _ := instanceNames()
	for _, n := range names {
		if instance.ContextName(n) == owner.Context {
			return n
		}
	}
	return ""
}

// adopterOf returns the only instance that adopts the engine of a context.
func adopterOf(docker *dockercontext.Config, name string) string {
	return theOnly(func(i *instance.Instance) bool {
		return i.Settings.FromContext == name && contexts.UsesConfig(i, docker.Dir())
	})
}

// instanceAt returns the only instance whose engine is at the host.
func instanceAt(host string) string {
	return theOnly(func(i *instance.Instance) bool {
		set, err := hostVariables(i)
		return err == nil && sameHost(set["DOCKER_HOST"], host)
	})
}

// theOnly returns the name of the only instance for which is reports true, else "".
func theOnly(is func(*instance.Instance) bool) string {
	names, _ := instanceNames()
	only := ""
	for _, name := range names {
		i, err := loadNamed(name)
		if err != nil {
			continue
		}
		// Its files may be on a file system that hangs.
		if matches, _ := contexts.Soon("only:"+name, func() bool { return is(i) }); !matches {
			continue
		}
		if only != "" {
			return ""
		}
		only = name
	}
	return only
}

// sameHost reports whether two hosts are the same; sockets are compared with links resolved.
func sameHost(a, b string) bool {
	pathA, okA := strings.CutPrefix(a, "unix://")
	pathB, okB := strings.CutPrefix(b, "unix://")
	if a == b || !okA || !okB {
		return a == b
	}
	realA, errA := filepath.EvalSymlinks(pathA)
	realB, errB := filepath.EvalSymlinks(pathB)
	return errA == nil && errB == nil && realA == realB
}

package commands

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/docker/cli/cli/config"
	"github.com/spf13/cobra"

	"github.com/docker-rd/docker-rd/client"
	"github.com/docker-rd/docker-rd/commands/objects"
	"github.com/docker-rd/docker-rd/dockercontext"
	"github.com/docker-rd/docker-rd/dockercontext/configfile"
	"github.com/docker-rd/docker-rd/engine"
	"github.com/docker-rd/docker-rd/instance"
	"github.com/docker-rd/docker-rd/internal/endpoint"
	"github.com/docker-rd/docker-rd/internal/failure"
	"github.com/docker-rd/docker-rd/internal/files"
	"github.com/docker-rd/docker-rd/internal/mounts"
	"github.com/docker-rd/docker-rd/internal/nearest"
)

// Hints returns what can be done about an error of cmd, a line each, with commands in backticks.
// Several joined errors may have several.
func Hints(cmd *cobra.Command, err error) (hints []string) {
	h := hinter{cmd}
	for _, part := range failure.Parts(err) {
		if hint := h.hint(part); hint != "" && !slices.Contains(hints, hint) {
			hints = append(hints, hint)
		}
	}
	return hints
}

// A hinter finds remedies by the type of an error, for a command that has failed.
type hinter struct{ cmd *cobra.Command }

// hint returns the remedy for an error, "" if there is none.
func (h hinter) hint(err error) string {
	if hint := failure.Hint(err); hint != "" {
		return hint // the error's own hint is more specific
	}
	for _, of := range hints {
		if hint := of(h, err); hint != "" {
			return hint
		}
	}
	return ""
}

// hints find a remedy by the type of an error. The first that is not "" counts.
var hints = []func(hinter, error) string{
	byType(hinter.notExist),
	byType(hinter.damaged),
	byType(func(_ hinter, e *engine.ContextError) string {
		if e.Program.Name != "" {
			return startedBy(e.Program)
		}
		return "`docker-rd context ls` lists the contexts"
	}),
	byType(func(_ hinter, e *mounts.BusyError) string {
		return "it does not belong to the instance: `sudo umount " + shellQuote(e.Point) + "`"
	}),
	hinter.wellKnown,
	byType(hinter.problem),
	byType(func(h hinter, e *objects.NotFoundError) string {
		return nearest.DidYouMean(nearest.To(e.Word, e.Kind.Words(e.State)), "",
			fmt.Sprintf("`docker-rd get %s%s` lists them", e.Kind.Kind, h.flag(e.State.Instance.Name)))
	}),
	byType(func(hinter, *dockercontext.RecordError) string {
		return "`docker-rd context doctor --fix` moves it aside"
	}),
	byType(func(_ hinter, e *configfile.RefusedError) string { return uneditable[e.Reason] }),
	byType(func(_ hinter, e *fs.PathError) string { // the kernel has ENOSPC for other limits, too
		if errors.Is(e, syscall.ENOSPC) || errors.Is(e, syscall.EDQUOT) {
			return "free some space: `docker-rd ls` shows what the instances take"
		}
		return ""
	}),
}

func byType[E error](hint func(hinter, E) string) func(hinter, error) string {
	return func(h hinter, err error) string {
		if e, ok := errors.AsType[E](err); ok {
			return hint(h, e)
		}
		return ""
	}
}

func (h hinter) wellKnown(err error) string {
	switch {
	case errors.Is(err, instance.ErrNoDriver):
		return "adopt an engine: `docker-rd start --from-context NAME` or `docker-rd start --host URL`"
	case errors.Is(err, instance.ErrNoEngine):
		return "name it by `" + h.setting("host", "URL") + "` or `" + h.setting("from-context", "NAME") + "`"
	case errors.Is(err, instance.ErrTwoEngines):
		if h.cmd.Name() == "set" {
			return "leave one out, or reset it with an empty value: `host=` or `from-context=`"
		}
		return "leave one out; of an instance that has the other one, `docker-rd set INSTANCE host= from-context=NAME` or `docker-rd set INSTANCE from-context= host=URL` replaces it"
	case errors.Is(err, endpoint.ErrScheme):
		return "give a URL with unix://, tcp://, http://, https://, ssh:// or, on Windows, npipe://"
	case errors.Is(err, endpoint.ErrTLSMaterial):
		return "tlscacert, tlscert and tlskey are PEM files that this user may read; tlskey is the key of tlscert, not encrypted"
	}
	return ""
}

func (h hinter) problem(e *client.Error) string {
	name := e.Instance.Name
	switch e.Problem {
	case client.NotRunning:
		return h.run("start", name) + " starts it"
	case client.Interrupted:
		return h.run("start", name) + " continues; then the mirror shows how it ended"
	case client.Removed:
		return h.run("start", name) + " creates it again"
	case client.NotReady:
		return h.run("status", name) + " and " + h.run(logsOf(e.Instance), name) + " show more"
	case client.Unanswered, client.Disconnected:
		return h.run("status", name) + " shows more"
	case client.Stopping:
		return h.run("stop --force", name) + " ends it at once"
	case client.Crashed:
		return h.run("logs --supervisor", name) + " shows more"
	case client.NoSystemd:
		return "another process manager can run " + h.run("start --foreground", name)
	case client.TooNew:
		return "use the newer docker-rd"
	case client.EngineFailed:
		return h.engineFailed(e.Instance)
	case client.ContextInUse:
		return "choose another one first: `docker" + configFlag(e.Instance.DockerConfig) + " context use default`"
	}
	return ""
}

// logsOf is the command for the log that says most of an instance's engine: an adopted one logs
// elsewhere.
func logsOf(i *instance.Instance) string {
	if i.Settings.Adopts() {
		return "logs --supervisor"
	}
	return "logs"
}

// uneditable says what to do about a config.json that can't be edited.
var uneditable = map[configfile.Reason]string{
	configfile.InvalidJSON:  "repair the file by hand; `docker-rd context doctor` shows where it is broken",
	configfile.BOM:          "save the file as UTF-8 without a byte-order mark",
	configfile.TrailingData: "keep one JSON object in the file",
	configfile.WrongType:    "correct that value by hand",
	configfile.NotRegular:   "put a regular file there",
	configfile.HardLink:     "replace the extra names by symbolic links",
	configfile.BindMount:    "mount its directory in place of the file, or change the context where the file comes from",
	configfile.ReadOnly:     "make the file and its directory writable",
	configfile.Unreadable:   "make the file readable",
	configfile.Owner:        "run the command as the owner of the file",
	configfile.NoSpace:      "make room on the file system",
}

// unknown refuses a word that is not one of words.
func unknown(what, word string, words []string) error {
	return failure.WithHint(failure.Refuse("unknown %s %q", what, word),
		"%s", nearest.DidYouMean(nearest.To(word, words), "", what+"s are "+strings.Join(words, ", ")))
}

// hinter makes commands for messages.
func (a *app) hinter() hinter { return hinter{a.root} }

// named reports whether a command must name the instance. The default one is left out if it is
// chosen anyway: "default" is also a context of docker's.
func (h hinter) named(name string) bool {
	if name != instance.DefaultName {
		return true
	}
	c, err := (&app{root: h.cmd}).choose(nil)
	return err != nil || c.name != name || c.foreign != ""
}

// run returns a command on an instance in backticks. More follows the name.
func (h hinter) run(command, name string, more ...string) string {
	words := []string{"docker-rd", command}
	if h.named(name) {
		words = append(words, name)
	}
	return "`" + strings.Join(append(words, more...), " ") + "`"
}

func (h hinter) setting(key, value string) string {
	if h.cmd.Name() == "set" {
		return key + "=" + value
	}
	return "--" + key + " " + value
}

// flag returns the option that names an instance in a command, "" if none is needed.
func (h hinter) flag(name string) string {
	if h.named(name) {
		return " -i " + name
	}
	return ""
}

// ending are the commands for which creating the instance makes no sense.
var ending = []string{"stop", "rm", "status", "logs", "diagnose", "demote", "set"}

func (h hinter) notExist(e *instance.NotExistError) string {
	names, _ := instanceNames()
	list := "`docker-rd ls` lists the instances"
	if near := nearest.To(e.Name, names); len(near) > 0 {
		return nearest.DidYouMean(near, "", list)
	}
	if slices.Contains(ending, h.cmd.Name()) {
		return list
	}
	return list + "; " + h.run("start", e.Name) + " creates it"
}

func (h hinter) damaged(e *instance.DamagedError) string {
	if e.Backup == nil {
		return "restore it from a backup, or repair it by hand: the uid must be that in state.json"
	}
	name := e.Backup.Name
	return fmt.Sprintf("%s and %s still work; `cp %s %s` restores what docker-rd wrote last",
		h.run("stop", name), "`docker-rd rm "+name+"`", shellQuote(e.Backup.Paths.InstanceBackup()), shellQuote(e.Path))
}

// startedBy tells how a program is started, by hand and by an option.
func startedBy(p engine.Program) string {
	return fmt.Sprintf("if %s is not running: `%s` starts it, and so does the option --start", p.Name, p.Command())
}

func (h hinter) engineFailed(i *instance.Instance) string {
	if p, ok := engine.ProgramOf(i); ok {
		return startedBy(p)
	}
	switch s := i.Settings; {
	case s.FromContext != "":
		return "`docker-rd" + configFlag(i.DockerConfig) + " context probe " + shellQuote(s.FromContext) + "` shows more"
	case s.Host != "" && s.HasTLS():
		return h.run("set", i.Name) + " shows its settings, such as tlscacert, and changes them"
	case s.Host != "": // docker's own option takes fewer URLs
		return h.run("status", i.Name) + " shows more"
	}
	if !files.Exists(i.Paths.EngineLog()) { // the engine was not even run
		return h.run("logs --supervisor", i.Name) + " shows more"
	}
	return "the engine's log is " + i.Paths.EngineLog() + ": " + h.run("logs", i.Name)
}

// configFlag returns docker's option for a configuration directory, "" if it is the one in
// force.
func configFlag(dir string) string {
	if here, err := filepath.Abs(config.Dir()); err == nil && here == dir {
		return ""
	}
	return " --config " + shellQuote(dir)
}

package commands

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"

	"github.com/docker/cli/cli/config"
	"github.com/spf13/cobra"

	"github.com/docker-rd/docker-rd/client"
	"github.com/docker-rd/docker-rd/commands/objects"
	"github.com/docker-rd/docker-rd/commands/output"
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

// A Remedy is what can be done about an error.
type Remedy struct {
	Text string // one line, with commands in backticks
	Of   string // the entry of the table that has it, "" if the error itself had it
}

// remedyFor returns the remedy for an error of cmd, the zero one if there is none.
func remedyFor(cmd *cobra.Command, err error) Remedy {
	if hint := failure.Hint(err); hint != "" {
		return Remedy{Text: hint} // the error's own hint is more specific
	}
	h := hinter{cmd: cmd, verb: cmd.Name()}
	for _, e := range hints {
		if text := e.hint(h, err); text != "" {
			return Remedy{text, e.of}
		}
	}
	return Remedy{}
}

// Hints returns the remedies for an error of cmd. Several joined errors may have several.
func Hints(cmd *cobra.Command, err error) (remedies []Remedy) {
	for _, part := range failure.Parts(err) {
		if r := remedyFor(cmd, part); r.Text != "" && !slices.Contains(remedies, r) {
			remedies = append(remedies, r)
		}
	}
	return remedies
}

// HintedErrors returns the entries of the table of hints.
func HintedErrors() []string {
	var names []string
	for _, e := range hints {
		names = append(names, e.of)
	}
	return names
}

// A hintEntry has the remedy for one sort of errors, which "of" names.
type hintEntry struct {
	of   string
	hint func(hinter, error) string // "" for other errors
}

// hints find a remedy by the type of an error. The first that is not "" counts.
var hints = []hintEntry{
	byType(func(h hinter, e *hintedError) string { return e.hint(h) }),
	byType(func(_ hinter, e *wordError) string {
		return DidYouMean(nearest.To(e.word, e.words), "", e.what+"s are "+strings.Join(e.words, ", "))
	}),
	byType(hinter.notExist),
	byType(func(_ hinter, e *instance.NameError) string {
		return "a name is 1 to 31 of a-z, 0-9 and '-', and does not begin with '-'"
	}),
	byType(func(_ hinter, e *instance.OtherMachineError) string {
		return fmt.Sprintf("use it there, or set %s to a directory of this machine; if this machine has only got a new id: set machine.id to %q in %s and its backup",
			instance.HomeEnv, e.ID, e.File)
	}),
	byType(hinter.damaged),
	byType(func(hinter, *instance.NewerError) string { return newerProgram }),
	byType(func(_ hinter, e *instance.UnwritableError) string {
		return "set " + instance.HomeEnv + " to a directory that can be written"
	}),
	byType(func(_ hinter, e *instance.SettingError) string {
		return DidYouMean(nearest.To(e.Name, instance.SettingNames()), "", "settings are "+strings.Join(instance.SettingNames(), ", "))
	}),
	byType(func(_ hinter, e *instance.ValueError) string {
		return DidYouMean(nearest.To(e.Value, e.Values), "", e.Key+" can be "+strings.Join(e.Values, ", "))
	}),
	is(instance.ErrNoDriver, "adopt an engine: `docker-rd start --from-context NAME` or `docker-rd start --host URL`"),
	isFor(instance.ErrNoEngine, func(h hinter) string {
		return "name it by `" + h.setting("host", "URL") + "` or `" + h.setting("from-context", "NAME") + "`"
	}),
	isFor(instance.ErrTwoEngines, func(h hinter) string {
		return "leave one out, or reset it with an empty value: `" + h.setting("host", "") + "` or `" + h.setting("from-context", "") + "`"
	}),
	byType(func(_ hinter, e *instance.DriverError) string {
		return "leave it out: it belongs to driver " + quoted(e.Drivers)
	}),
	is(instance.ErrNoHome, "set HOME or "+instance.HomeEnv),
	byType(func(_ hinter, e *engine.ContextError) string {
		if e.Program.Name != "" {
			return startedBy(e.Program)
		}
		return "`docker-rd context ls` lists the contexts"
	}),
	is(endpoint.ErrScheme, "give a URL with unix://, tcp://, http://, https://, ssh:// or, on Windows, npipe://"),
	is(endpoint.ErrTLSMaterial, "tlscacert, tlscert and tlskey are PEM files that this user may read; tlskey is the key of tlscert, not encrypted"),
	byType(func(_ hinter, e *mounts.BusyError) string {
		return "it does not belong to the instance: `sudo umount " + shellQuote(e.Point) + "`"
	}),
	problem(client.NotRunning, func(h hinter, name string) string { return h.run("start", name) + " starts it" }),
	problem(client.Interrupted, func(h hinter, name string) string {
		return h.run("start", name) + " continues; then the mirror shows how it ended"
	}),
	problem(client.Removed, func(h hinter, name string) string { return h.run("start", name) + " creates it again" }),
	onProblem(client.NotReady, func(h hinter, e *client.Error) string {
		logs := "logs"
		if e.Instance.Settings.Driver == instance.DriverExisting {
			logs = "logs --supervisor"
		}
		return h.run("status", e.Instance.Name) + " and " + h.run(logs, e.Instance.Name) + " show more"
	}),
	problem(client.Unanswered, hinter.statusShowsMore),
	problem(client.Disconnected, hinter.statusShowsMore),
	problem(client.Stopping, func(h hinter, name string) string { return h.run("stop --force", name) + " ends it at once" }),
	problem(client.Crashed, func(h hinter, name string) string { return h.run("logs --supervisor", name) + " shows more" }),
	problem(client.NoSystemd, func(h hinter, name string) string {
		return "another process manager can run " + h.run("start --foreground", name)
	}),
	problem(client.TooNew, func(hinter, string) string { return newerProgram }),
	onProblem(client.EngineFailed, func(h hinter, e *client.Error) string { return h.engineFailed(e.Instance) }),
	onProblem(client.ContextInUse, func(_ hinter, e *client.Error) string {
		return "choose another one first: `docker" + configFlag(e.Instance.DockerConfig) + " context use default`"
	}),
	byType(func(_ hinter, e *objects.KindError) string {
		return DidYouMean(e.Near(), "", "kinds are "+objects.KindNames())
	}),
	byType(func(_ hinter, e *objects.FilterError) string {
		if e.Unanswered {
			return "docker can"
		}
		return DidYouMean(nearest.To(e.Name, e.Kind.Filters()), "", "filters are "+strings.Join(e.Kind.Filters(), ", "))
	}),
	byType(func(h hinter, e *objects.NotFoundError) string {
		of := h.flag(e.State.Instance.Name)
		return DidYouMean(nearest.To(e.Word, e.Kind.Words(e.State)), "",
			fmt.Sprintf("`docker-rd get %s%s` lists them", e.Kind.Kind, of))
	}),
	byType(func(_ hinter, e *output.FieldError) string {
		if len(e.Fields) == 0 {
			return ""
		}
		return DidYouMean(nearest.To(e.Field, e.Fields), ".", "fields are ."+strings.Join(e.Fields, ", ."))
	}),
	byType(func(_ hinter, e *objects.AmbiguousError) string { return "give more of the ID" }),
	byType(func(hinter, *dockercontext.RecordError) string {
		return "`docker-rd context doctor --fix` moves it aside"
	}),
	uneditable(configfile.InvalidJSON, "repair the file by hand; `docker-rd context doctor` shows where it is broken"),
	uneditable(configfile.BOM, "save the file as UTF-8 without a byte-order mark"),
	uneditable(configfile.TrailingData, "keep one JSON object in the file"),
	uneditable(configfile.WrongType, "repair the file by hand; docker itself can't load it"),
	uneditable(configfile.NotRegular, "put a regular file there"),
	uneditable(configfile.HardLink, "replace the extra names by symbolic links"),
	uneditable(configfile.BindMount, "mount its directory in place of the file, or change the context where the file comes from"),
	uneditable(configfile.ReadOnly, "make the file and its directory writable"),
	uneditable(configfile.Unreadable, "make the file readable"),
	uneditable(configfile.Owner, "run the command as the owner of the file"),
	uneditable(configfile.NoSpace, "make room on the file system"),
	byType(func(_ hinter, e *fs.PathError) string { // the kernel has ENOSPC for other limits, too
		if errors.Is(e, syscall.ENOSPC) || errors.Is(e, syscall.EDQUOT) {
			return "free some space: `docker-rd ls` shows what the instances take"
		}
		return ""
	}),
}

const newerProgram = "use the newer docker-rd"

type hintedError struct {
	error
	hint func(hinter) string
}

func (e *hintedError) Unwrap() error { return e.error }

// hinted returns err with a remedy.
func hinted(err error, hint func(h hinter) string) error { return &hintedError{err, hint} }

type wordError struct {
	what, word string
	words      []string
}

func (e *wordError) Error() string { return fmt.Sprintf("unknown %s %q", e.what, e.word) }

// unknown refuses a word that is not one of words.
func unknown(what, word string, words []string) error {
	return failure.WithCode(&wordError{what, word, words}, failure.CodeRefused)
}

func byType[E error](hint func(hinter, E) string) hintEntry {
	return hintEntry{reflect.TypeFor[E]().String(), func(h hinter, err error) string {
		if e, ok := errors.AsType[E](err); ok {
			return hint(h, e)
		}
		return ""
	}}
}

func is(target error, text string) hintEntry {
	return isFor(target, func(hinter) string { return text })
}

// isFor is [is] with a hint that depends on the command.
func isFor(target error, hint func(hinter) string) hintEntry {
	return hintEntry{target.Error(), func(h hinter, err error) string {
		if errors.Is(err, target) {
			return hint(h)
		}
		return ""
	}}
}

// onProblem returns the entry for one problem of an instance, and problem the same for one
// that needs no more than the instance's name.
func onProblem(p client.Problem, hint func(hinter, *client.Error) string) hintEntry {
	e := byType(func(h hinter, e *client.Error) string {
		if e.Problem != p {
			return ""
		}
		return hint(h, e)
	})
	e.of += " " + string(p)
	return e
}

func problem(p client.Problem, hint func(h hinter, name string) string) hintEntry {
	return onProblem(p, func(h hinter, e *client.Error) string { return hint(h, e.Instance.Name) })
}

// uneditable returns the entry for one reason for which config.json can't be edited.
func uneditable(reason configfile.Reason, text string) hintEntry {
	e := byType(func(_ hinter, e *configfile.RefusedError) string {
		if e.Reason != reason {
			return ""
		}
		return text
	})
	e.of += " " + string(reason)
	return e
}

// DidYouMean returns a hint with the suggestions, each after prefix, or otherwise if there are
// none.
func DidYouMean(suggestions []string, prefix, otherwise string) string {
	if len(suggestions) == 0 {
		return otherwise
	}
	return "did you mean `" + prefix + strings.Join(suggestions, "` or `"+prefix) + "`?"
}

// A hinter knows which command has failed.
type hinter struct {
	cmd  *cobra.Command
	verb string
}

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
	if h.verb == "set" {
		return key + "=" + value
	}
	if value == "" {
		value = "''"
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
		return DidYouMean(near, "", list)
	}
	if slices.Contains(ending, h.verb) {
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

func (h hinter) statusShowsMore(name string) string { return h.run("status", name) + " shows more" }

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
	case s.Host != "" && !s.HasTLS():
		return "`docker-rd --host " + shellQuote(s.Host) + " context probe default` shows more"
	case s.Host != "":
		return h.run("set", i.Name) + " shows its settings, such as tlscacert, and changes them"
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

// Package commands holds the verbs of docker rd, one a file: its options, its
// command, and what it does.
package commands

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/docker/cli/cli/command"
	"github.com/docker/cli/cli/config"
	"github.com/spf13/cobra"

	"github.com/docker-rd/docker-rd/client"
	"github.com/docker-rd/docker-rd/commands/progress"
	"github.com/docker-rd/docker-rd/lock"
)

// instanceEnv names the environment variable that sets the default instance.
const instanceEnv = "DOCKER_RD_INSTANCE"

// ExitStatus is an error without a message: the status of a command that was run, or
// an answer that was printed already.
type ExitStatus int

func (s ExitStatus) Error() string { return "exit status " + strconv.Itoa(int(s)) }

// app is what every command has: docker's side, and the value of --instance.
type app struct {
	docker   command.Cli
	root     *cobra.Command
	instance flagValue[string] // an empty one is a script's mistake, not the default
	display  *progress.Display // on the screen now; nil if there is none
	shown    bool              // a display has shown how the command ended
	said     sync.Map          // what [app.once] was asked for
}

// Add adds all commands and the options that they share to root. It returns a function that
// derives the context to run them with.
func Add(root *cobra.Command, docker command.Cli) func(context.Context) context.Context {
	// [instance.CheckName] refuses what is no name: cobra reports errors of flags in its own way.
	a := &app{docker: docker, root: root, instance: flagValue[string]{kind: "string", parse: asIs}}
	root.PersistentFlags().VarP(&a.instance, "instance", "i", "Instance to work on (default: $"+instanceEnv+", the current context's, or \"default\")")
	_ = root.RegisterFlagCompletionFunc("instance", completing(a.instanceWords))
	root.AddCommand(
		a.newStart(),
		a.newStop(),
		a.newRestart(),
		a.newRm(),
		a.aboutNone(a.newLs()),
		a.newStatus(),
		a.newSet(),
		a.newLogs(),
		a.newWait(),
		a.newRun(),
		a.newShell(),
		a.newEnv(),
		a.newPaths(),
		a.newDiagnose(),
		a.newContext(),
		a.aboutNone(a.newCompletion()),
		a.aboutNone(a.newVersion()),
		a.newGet(),
		a.newWatch(),
		a.newSync(),
		a.newAction(),
		a.newDelete(),
		a.aboutNone(a.newCpImage()),
		a.aboutNone(a.newDashboard()),
		a.newTop(),
		a.newHooks(),
		a.newHook(),
	)
	for _, cmd := range root.Commands() {
		a.tellsFailure(cmd)
	}
	return a.context
}

// patient are the commands that, when they are interrupted, undo or remove what they have begun, wait
// for a program that gets the signal, too, or end open connections.
var patient = []string{"start", "restart", "set", "run", "shell", "dashboard", "diagnose"}

// EndsLate reports whether an interrupted command may take long to end.
func EndsLate(cmd *cobra.Command) bool { return slices.Contains(patient, cmd.Name()) }

// context returns a context under which waiting for a lock prints a note that names its
// holder.
func (a *app) context(ctx context.Context) context.Context {
	return lock.WithBlocked(ctx, func(e *lock.HeldError) { a.note("waiting: %v", e) })
}

func (a *app) out() io.Writer { return a.docker.Out() }
func (a *app) err() io.Writer { return a.docker.Err() }

// note prints a line beside the output.
func (a *app) note(format string, args ...any) {
	a.aside("note: "+format, args...)
}

// warn prints a line about a failure that does not fail the command.
func (a *app) warn(format string, args ...any) {
	a.aside("warning: "+format, args...)
}

// once reports whether something is said for the first time: several instances may lack the same.
func (a *app) once(text string) bool {
	_, said := a.said.LoadOrStore(text, true)
	return !said
}

// aside prints a line to standard error, above a display if there is one.
func (a *app) aside(format string, args ...any) {
	write := func() { _, _ = fmt.Fprintf(a.err(), format+"\n", args...) }
	if a.display != nil {
		a.display.Aside(write)
		return
	}
	write()
}

// confirm asks a question on the terminal. Anything but yes is no.
func (a *app) confirm(ctx context.Context, question string, args ...any) (yes bool, err error) {
	if _, err := fmt.Fprintf(a.err(), question+" [y/N] ", args...); err != nil {
		return false, err
	}
	answer := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(a.docker.In()).ReadString('\n')
		answer <- line
	}()
	select {
	case line := <-answer:
		return slices.Contains([]string{"y", "yes"}, strings.ToLower(strings.TrimSpace(line))), nil
	case <-ctx.Done():
		return false, ctx.Err()
	}
}

// dockerConfig returns the Docker configuration directory in force: --config,
// DOCKER_CONFIG or ~/.docker. It is absolute, since it is remembered.
func dockerConfig() (string, error) {
	dir, err := filepath.Abs(config.Dir())
	if err != nil {
		return "", fmt.Errorf("docker configuration directory: %w", err)
	}
	return dir, nil
}

// patience returns the context and the options for a start. A --timeout that was given is a
// deadline. The default one is extended by progress.
func patience(ctx context.Context, limit flagValue[time.Duration]) (context.Context, context.CancelFunc, client.StartOptions) {
	if limit.given {
		ctx, cancel := withTimeout(ctx, limit)
		return ctx, cancel, client.StartOptions{}
	}
	ctx, cancel := context.WithCancel(ctx)
	return ctx, cancel, client.StartOptions{Patience: limit.value}
}

// withTimeout is context.WithTimeout; 0 is no limit.
func withTimeout(ctx context.Context, limit flagValue[time.Duration]) (context.Context, context.CancelFunc) {
	if limit.value == 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, limit.value)
}

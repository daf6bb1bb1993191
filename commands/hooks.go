package commands

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/docker/cli/cli-plugins/hooks"
	"github.com/docker/cli/cli-plugins/metadata"
	"github.com/moby/moby/client/pkg/versions"
	"github.com/spf13/cobra"

	"github.com/docker-rd/docker-rd/client"
	"github.com/docker-rd/docker-rd/dockercontext"
	"github.com/docker-rd/docker-rd/dockercontext/configfile"
	"github.com/docker-rd/docker-rd/instance"
)

// Docker asks plugins for hints about a command that has failed, where config.json names the
// command among the plugin's error-hooks, or, before docker 29.3, its hooks, for which it also
// asks after commands that succeed.

// hookedCommands are the commands of docker's that need an engine.
const hookedCommands = "attach,build,builder,buildx,commit,compose,container,cp,create,diff,events,exec,export,history,image,images,import," +
	"info,inspect,kill,load,logs,network,pause,port,ps,pull,push,rename,restart,rm,rmi,run,save,search,start,stats,stop,system,tag,top," +
	"unpause,update,version,volume,wait"

func (a *app) newHooks() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "hooks COMMAND",
		Short: "Have docker print hints when it can't reach an engine",
	}
	cmd.AddCommand(
		a.aboutNone(&cobra.Command{
			Use:   "install",
			Short: "Have docker print hints when it can't reach an engine",
			Long: `Have docker print hints when it can't reach an engine. If a docker command fails on a
terminal because of that, docker then prints what to type.

This adds options for docker rd to "plugins" in docker's config.json and turns on docker's
feature "hooks", which docker 26.1 and later have. Before 29.3, docker asks for hints after
successful commands too, which takes some milliseconds each time. Repeat this command after
an upgrade of docker.`,
			RunE: func(cmd *cobra.Command, _ []string) error { return a.setHooks(cmd, true) },
		}),
		a.aboutNone(&cobra.Command{
			Use:   "remove",
			Short: "Stop docker from printing hints",
			Long:  `Stop docker from printing hints. config.json is then as it was before "install".`,
			RunE:  func(cmd *cobra.Command, _ []string) error { return a.setHooks(cmd, false) },
		}),
	)
	return cmd
}

func (a *app) setHooks(cmd *cobra.Command, install bool) error {
	c, err := shellContexts(cmd)
	if err != nil {
		return err
	}
	decide := withoutHooks
	said, unchanged := "Docker prints no hints of docker rd any more", "Docker prints no hints of docker rd"
	if install {
		version := dockerVersion(cmd.Context())
		if version != "" && versions.LessThan(version, "26.1") {
			a.warn("docker %s prints no hints: docker 26.1 and later do", version)
		}
		decide = func(o configfile.Options) []configfile.Option { return a.withHooks(o, version) }
		said, unchanged = "Docker prints hints of docker rd when it can't reach an engine", "Docker prints hints of docker rd already"
	}
	changed, err := c.UpdateOptions(cmd.Context(), decide)
	if err != nil {
		return err
	}
	if !changed {
		said = unchanged
	}
	_, err = fmt.Fprintf(a.out(), "%s (%s)\n", said, c.Dir())
	return err
}

// What is set in config.json. Docker asks no plugin for hints unless its feature "hooks" is on;
// enabledHooks notes that it was not on before.
var (
	errorHooks   = []string{"plugins", "rd", "error-hooks"}
	allHooks     = []string{"plugins", "rd", "hooks"}
	enabledHooks = []string{"plugins", "rd", "enabled-hooks"}
	hooksFeature = []string{"features", "hooks"}
)

func (a *app) withHooks(o configfile.Options, version string) []configfile.Option {
	settings := []configfile.Option{{Path: errorHooks, Value: hookedCommands}, {Path: allHooks}}
	if versions.LessThan(version, "29.3") { // or not known
		settings[1].Value = hookedCommands
	}
	switch on := o.Features["hooks"]; {
	case on == "":
		settings = append(settings, configfile.Option{Path: enabledHooks, Value: "true"}, configfile.Option{Path: hooksFeature, Value: "true"})
	case on != "true":
		a.warn("docker's feature \"hooks\" is %q in config.json: docker prints no hints until it is \"true\"", on)
	}
	return settings
}

func withoutHooks(o configfile.Options) (settings []configfile.Option) {
	if o.Plugins["rd"]["enabled-hooks"] != "" {
		settings = append(settings, configfile.Option{Path: hooksFeature}, configfile.Option{Path: enabledHooks})
	}
	return append(settings, configfile.Option{Path: allHooks}, configfile.Option{Path: errorHooks})
}

var versionText = regexp.MustCompile(`version ([0-9]+\.[0-9]+[^ ,]*)`)

// dockerVersion asks the docker that runs this command, or the one on the PATH, for its version. One
// that is not known is "".
func dockerVersion(ctx context.Context) string {
	docker := cmp.Or(os.Getenv(metadata.ReexecEnvvar), "docker")
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, docker, "--version").Output()
	if m := versionText.FindSubmatch(out); err == nil && m != nil {
		return string(m[1])
	}
	return ""
}

// newHook returns the command that docker runs for a hint.
func (a *app) newHook() *cobra.Command {
	return &cobra.Command{
		Use:     "hint REQUEST", // by docker's name it would widen the list of commands
		Aliases: []string{metadata.HookSubcommandName},
		Hidden:  true,
		Args:    takes(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var r hooks.Request
			if err := json.Unmarshal([]byte(args[0]), &r); err != nil {
				return fmt.Errorf("docker's request for a hint: %w", err)
			}
			answer := hooks.Response{Type: hooks.NextSteps, Template: strings.Join(a.nextSteps(cmd, r), "\n")}
			return json.NewEncoder(a.out()).Encode(answer)
		},
	}
}

// hintTimeout bounds the look at an engine for a hint.
const hintTimeout = time.Second

// nextSteps returns what to do about a docker command that has failed because the engine of the
// context in use does not run; nothing for any other.
func (a *app) nextSteps(cmd *cobra.Command, r hooks.Request) []string {
	c, err := shellContexts(cmd)
	if err != nil || r.CommandError == "" {
		return nil
	}
	name, by := c.InForce()
	ep, err := c.Endpoint(name)
	if ep.Scheme() == "ssh" {
		return nil // a look takes too long
	}
	// Docker does not pass on its --context and --host. Its error names what it has used.
	if !strings.Contains(r.CommandError, strconv.Quote(name)) && (err != nil || !strings.Contains(r.CommandError, ep.Host)) {
		return nil
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), hintTimeout)
	defer cancel()
	if report := c.Probe(ctx, name)[0]; report.Health != dockercontext.Broken {
		return nil
	}
	return a.stepsFor(c, name, by)
}

func (a *app) stepsFor(c *dockercontext.Config, name, by string) []string {
	if owner := ownedBy(c, name); owner != "" {
		return []string{
			fmt.Sprintf("`docker-rd start %s` starts the engine of this context", owner),
			fmt.Sprintf("`docker-rd status %s` says why it does not run", owner),
		}
	}
	ready := readyInstance()
	if by != "" {
		if ready == "" {
			return []string{fmt.Sprintf("%s names an engine that does not run: `docker-rd run -- docker …` starts one of your own for a command", by)}
		}
		return []string{fmt.Sprintf("%s names an engine that does not run: `docker-rd run -i %s -- docker …` uses one of your own", by, ready)}
	}
	if ready == "" {
		return []string{"`docker-rd start` starts an engine of your own, which docker uses until it is stopped"}
	}
	return []string{fmt.Sprintf("`docker-rd context promote %s` has docker use your engine %q", ready, ready)}
}

// readyInstance returns an instance that can be used, "" for none.
func readyInstance() string {
	names, _ := instanceNames()
	for _, name := range names {
		if i, err := loadNamed(name); err == nil && client.Status(instance.Observe(i), i) == client.StatusReady {
			return name
		}
	}
	return ""
}

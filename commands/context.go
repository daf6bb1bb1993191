package commands

import (
	"cmp"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/docker-rd/docker-rd/dockercontext"
	"github.com/docker-rd/docker-rd/instance"
	"github.com/docker-rd/docker-rd/instance/contexts"
	"github.com/docker-rd/docker-rd/internal/endpoint"
)

func (a *app) newContext() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "context COMMAND",
		Short: "Manage Docker contexts and their health",
	}
	cmd.AddCommand(
		a.aboutNone(a.newContextLs()),
		a.aboutNone(a.newContextProbe()),
		a.newContextPromote(),
		a.newContextDemote(),
		a.aboutNone(a.newContextDoctor()),
	)
	return cmd
}

// configHere returns the Docker configuration in dir with this shell's variables and docker's
// options.
func configHere(cmd *cobra.Command, dir string) (*dockercontext.Config, error) {
	o, err := optionsHere(cmd, dir)
	if err != nil {
		return nil, err
	}
	return dockercontext.Open(o), nil
}

func optionsHere(cmd *cobra.Command, dir string) (dockercontext.Options, error) {
	o, err := contexts.Options(dir)
	if err != nil {
		return o, err
	}
	o.Getenv = os.Getenv
	d := endpoint.DefaultFromEnv(os.Getenv, dir)
	// docker's plugin code parses them with its own flag set: Visit sees nothing.
	cmd.Root().Flags().VisitAll(func(f *pflag.Flag) {
		if !f.Changed {
			return
		}
		value := f.Value.String()
		switch f.Name {
		case "context":
			o.Context = value
		case "host":
			o.Host, d.Host = value, value
		case "tls":
			d.TLS = d.TLS || value == "true"
		case "tlsverify":
			d.TLS, d.TLSVerify = true, value == "true"
		case "tlscacert":
			d.CAFile = value
		case "tlscert":
			d.CertFile, d.CertRequired = value, true
		case "tlskey":
			d.KeyFile, d.KeyRequired = value, true
		}
	})
	o.Default = &d
	return o, nil
}

// shellContexts returns the Docker configuration that docker would use here.
func shellContexts(cmd *cobra.Command) (*dockercontext.Config, error) {
	dir, err := dockerConfig()
	if err != nil {
		return nil, err
	}
	return configHere(cmd, dir)
}

// isCurrent reports whether the instance's context is the stored current one. A foreign
// context of that name does not count.
func isCurrent(docker *dockercontext.Config, i *instance.Instance) bool {
	current, err := docker.Current()
	if err != nil || cmp.Or(current, endpoint.DefaultContext) != i.Context() {
		return false
	}
	if !i.OwnsContext() {
		return true
	}
	ours, err := docker.Exists(contexts.Owner(i))
	return err == nil && ours
}

func (a *app) contextWords([]string, string) []string {
	c, err := shellContexts(a.root)
	if err != nil {
		return nil
	}
	return c.Names()
}

package commands

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os/exec"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/docker-rd/docker-rd/board"
	"github.com/docker-rd/docker-rd/dashboard"
	"github.com/docker-rd/docker-rd/instance"
)

type dashboardOptions struct {
	listen       string
	open         bool
	allowActions bool
}

func (a *app) newDashboard() *cobra.Command {
	var o dashboardOptions
	cmd := &cobra.Command{
		Use:   "dashboard [OPTIONS]",
		Short: "Serve a local page that shows all instances live",
		Long: `Serve a local page that shows all instances live, until interrupted, and print its
address. The address contains a token: whoever on this machine knows it can see everything.
The page comes from the state files and costs the engines nothing.`,
		Example: `  docker rd dashboard --open
  docker rd dashboard --listen 127.0.0.1:8000 --allow-actions`,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.runDashboard(cmd.Context(), o) },
	}
	flags := cmd.Flags()
	flags.StringVar(&o.listen, "listen", "127.0.0.1:0", "Loopback address to listen at (port 0: any free port)")
	flags.BoolVar(&o.open, "open", false, "Open it in a browser")
	flags.BoolVar(&o.allowActions, "allow-actions", false, "Let the page start, stop and delete objects")
	return cmd
}

func (a *app) runDashboard(ctx context.Context, o dashboardOptions) error {
	roots, err := instance.DefaultRoots()
	if err != nil {
		return err
	}
	options := dashboard.Options{
		Board:        board.Board{Roots: roots},
		AllowActions: o.allowActions,
		Log:          slog.New(slog.NewTextHandler(a.err(), nil)),
	}
	server, err := dashboard.Listen(o.listen, options)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintln(a.out(), server.URL()); err != nil {
		return err
	}
	if o.open {
		if err := openInBrowser(server.OnceURL()); err != nil {
			a.warn("no browser opened: %v", err)
		}
	}
	err = server.Serve(ctx)
	if err == nil {
		err = ctx.Err()
	}
	if errors.Is(err, context.Canceled) {
		return nil // it runs until interrupted
	}
	return err
}

// openInBrowser opens a URL in the user's browser, without waiting for it.
func openInBrowser(url string) error {
	argv := []string{"xdg-open", url}
	switch runtime.GOOS {
	case "darwin":
		argv = []string{"open", url}
	case "windows":
		argv = []string{"rundll32", "url.dll,FileProtocolHandler", url}
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	if err := cmd.Start(); err != nil {
		return err
	}
	go func() { _ = cmd.Wait() }()
	return nil
}

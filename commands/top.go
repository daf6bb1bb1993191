package commands

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/gdamore/tcell/v2"
	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/api/types/container"
	moby "github.com/moby/moby/client"
	"github.com/spf13/cobra"

	"github.com/docker-rd/docker-rd/board"
	"github.com/docker-rd/docker-rd/instance"
	"github.com/docker-rd/docker-rd/internal/endpoint"
	"github.com/docker-rd/docker-rd/top"
)

func (a *app) newTop() *cobra.Command {
	return &cobra.Command{
		Use:   "top [OPTIONS] [INSTANCE]",
		Short: "Show instances and their objects live on the whole terminal",
		Long: `Show instances, their conditions and objects live on the whole terminal: all instances,
or one. Keys search, sort, show logs, start, stop and delete; "?" lists them. The command
reads the mirrors. It asks the engines only for logs and for the use of processor and
memory, when you want to see them. Without a terminal it prints everything once.`,
		Args:              takes(0, 1),
		ValidArgsFunction: completing(a.instanceWord),
		RunE:              func(cmd *cobra.Command, args []string) error { return a.runTop(cmd.Context(), args) },
	}
}

func (a *app) runTop(ctx context.Context, args []string) error {
	roots, err := instance.DefaultRoots()
	if err != nil {
		return err
	}
	o := top.Options{
		Board: board.Board{Roots: roots},
		Logs:  topLogs,
		Usage: topUsage,
		Color: os.Getenv("NO_COLOR") == "",
	}
	if len(args) > 0 || a.instance.given {
		i, err := a.loadAnyway(args)
		if err != nil {
			return err
		}
		o.Only = i.Name
	}
	if a.docker.In().IsTerminal() && a.docker.Out().IsTerminal() {
		// A terminal that can't be drawn on does not count.
		if screen, err := tcell.NewScreen(); err == nil {
			return top.Run(ctx, screen, o)
		}
	}
	names, err := instanceNames()
	if err != nil {
		return err
	}
	return top.Plain(ctx, a.out(), names, o)
}

// topTail is how many lines of a log are shown first.
const topTail = 500

// topLogs writes and follows the log of an instance's engine, or of the container id.
func topLogs(ctx context.Context, name, id string, w io.Writer) error {
	i, err := loadNamed(name)
	if err != nil {
		return err
	}
	if id == "" {
		path := i.Paths.EngineLog()
		if i.Settings.Adopts() {
			path = i.Paths.SupervisorLog() // its engine logs elsewhere
		}
		return showLog(ctx, w, path, topTail, true)
	}
	if i.Settings.Engine == instance.KindContainerd {
		return containerdLog(ctx, i, id, w)
	}
	return withEngine(i, func(api *endpoint.Client) error {
		about, err := api.ContainerInspect(ctx, id, moby.ContainerInspectOptions{})
		if err != nil {
			return err
		}
		log, err := api.ContainerLogs(ctx, id, moby.ContainerLogsOptions{ShowStdout: true, ShowStderr: true, Follow: true, Tail: fmt.Sprint(topTail)})
		if err != nil {
			return err
		}
		defer log.Close()
		if about.Container.Config != nil && about.Container.Config.Tty {
			_, err = io.Copy(w, log)
		} else {
			_, err = stdcopy.StdCopy(w, w, log)
		}
		return err
	})
}

// topUsage asks an engine for what a container uses.
func topUsage(ctx context.Context, name, id string) (u top.Usage, err error) {
	i, err := loadNamed(name)
	if err != nil {
		return u, err
	}
	if i.Settings.Engine == instance.KindContainerd {
		return containerdUsage(ctx, i, id)
	}
	err = withEngine(i, func(api *endpoint.Client) error {
		// Two samples, a second apart.
		answer, err := api.ContainerStats(ctx, id, moby.ContainerStatsOptions{IncludePreviousSample: true})
		if err != nil {
			return err
		}
		defer answer.Body.Close()
		var s container.StatsResponse
		if err := json.NewDecoder(answer.Body).Decode(&s); err != nil {
			return err
		}
		u, err = usageOf(&s)
		return err
	})
	return u, err
}

// usageOf computes what docker's own stats shows.
func usageOf(s *container.StatsResponse) (top.Usage, error) {
	if s.Read.IsZero() || s.PreRead.IsZero() {
		return top.Usage{}, errors.New("the container does not run")
	}
	// The page cache does not count: it can be reclaimed.
	memory := s.MemoryStats.Usage
	for _, name := range []string{"total_inactive_file", "inactive_file"} { // control groups of version 1, and 2
		if cache, ok := s.MemoryStats.Stats[name]; ok && cache < memory {
			memory -= cache
			break
		}
	}
	used := float64(s.CPUStats.CPUUsage.TotalUsage) - float64(s.PreCPUStats.CPUUsage.TotalUsage)
	all := float64(s.CPUStats.SystemUsage) - float64(s.PreCPUStats.SystemUsage)
	u := top.Usage{Memory: memory}
	if used > 0 && all > 0 {
		u.CPU = used / all * float64(max(int(s.CPUStats.OnlineCPUs), len(s.CPUStats.CPUUsage.PercpuUsage))) * 100
	}
	return u, nil
}

func withEngine(i *instance.Instance, do func(*endpoint.Client) error) error {
	ep, err := endpointOf(i)
	if err != nil {
		return err
	}
	api, err := ep.Client()
	if err != nil {
		return err
	}
	defer api.Close()
	return endpoint.WithoutURL(do(api))
}

package commands

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/docker/go-units"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/docker-rd/docker-rd/client"
	"github.com/docker-rd/docker-rd/commands/output"
	"github.com/docker-rd/docker-rd/instance"
	"github.com/docker-rd/docker-rd/instance/contexts"
	"github.com/docker-rd/docker-rd/mirror/state"
)

type instanceRow struct {
	Name    string `json:"name"`
	Driver  string `json:"driver"`
	Engine  string `json:"engine"`
	Status  string `json:"status"`
	Context string `json:"context"`
	Current bool   `json:"current"` // promoted, or chosen by the user
	Host    string `json:"host"`
	Version string `json:"version"`
	Error   string `json:"error,omitempty"`
	Failure string `json:"failure,omitempty"` // why the instance is down for good

	Running   int       `json:"running"`            // containers
	Total     int       `json:"containers"`         //
	StartedAt time.Time `json:"startedAt,omitzero"` // of the engine
	DiskBytes int64     `json:"diskBytes"`          // of its data, as far as counted
	DiskWhole bool      `json:"diskWhole"`          // false: there is more

	live, disk bool // Running and Total are known; DiskBytes is
}

// Containers returns how many containers run, of how many.
func (r instanceRow) Containers() string {
	if !r.live {
		return ""
	}
	return fmt.Sprintf("%d/%d", r.Running, r.Total)
}

// Uptime returns how long the engine has been running.
func (r instanceRow) Uptime() string {
	if r.StartedAt.IsZero() {
		return ""
	}
	return units.HumanDuration(time.Since(r.StartedAt))
}

// Disk returns the size of the instance's data.
func (r instanceRow) Disk() string {
	if !r.disk {
		return ""
	}
	return humanSize(r.DiskBytes, r.DiskWhole)
}

var instanceLayout = output.Layout{
	Table: "{{.Name}}\t{{.Status}}\t{{.Driver}}\t{{.Engine}}\t{{.Version}}\t{{.Containers}}\t{{.Uptime}}\t{{.Disk}}\t{{.Context}}{{if .Current}} *{{end}}",
	Key:   "{{.Name}}",
	// As in docker's list of contexts, Current has no title: it marks a name.
	Titles: map[string]string{"Current": ""},
}

func (a *app) newLs() *cobra.Command {
	var o output.Options
	cmd := &cobra.Command{
		Use:     "ls [OPTIONS]",
		Aliases: []string{"list"},
		Short:   "List instances",
		Long: "List instances, each with its status:\n\n" + statusHelp() + `
"*" marks the current context. CONTAINERS shows how many run, of how many.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir, err := dockerConfig()
			if err != nil {
				return err
			}
			a.repair(cmd.Context(), dir)
			rows, err := instanceRows(cmd.Context(), showsDisk(o))
			if err != nil {
				return err
			}
			return output.WriteRows(a.out(), o, instanceLayout, rows)
		},
	}
	o.AddFlags(cmd, "names")
	return cmd
}

// statuses are all words that sum up an instance, with their meanings.
var statuses = [][2]string{
	{client.StatusStarting, "it is being started"},
	{client.StatusReady, "its engine can be used, and its mirror is complete"},
	{client.StatusRunning, "its engine can be used, its mirror is not complete"},
	{client.StatusUnresponsive, "its engine does not answer"},
	{client.StatusUnreachable, "no connection to its engine is possible; that is tried again"},
	{client.StatusRestarting, "its engine has ended, and is started again"},
	{client.StatusStopping, "it is being stopped"},
	{client.StatusStopped, "nothing of it runs"},
	{client.StatusFailed, `its last start or its engine has failed: "status" shows why`},
	{client.StatusUnsupervised, `its engine runs, but no supervisor: "start" adopts it`},
	{client.StatusUnusable, "its settings can't be read"},
}

// statusHelp lists the words for an instance's status.
func statusHelp() string {
	var b strings.Builder
	for _, s := range statuses {
		fmt.Fprintf(&b, "  %-12s  %s\n", s[0], s[1])
	}
	return b.String()
}

// wholeOrDisk matches a template that shows the disk usage, or a whole row: a dot alone.
var wholeOrDisk = regexp.MustCompile(`\.(?:Disk|\W|$)`)

// showsDisk reports whether the output has the disk usage, which takes time.
func showsDisk(o output.Options) bool {
	return o.IsJSON() || !o.Quiet && (o.IsTable() || wholeOrDisk.MatchString(o.Format))
}

// countLimit bounds the counting of files for a list.
const countLimit = 500 * time.Millisecond

func instanceRows(ctx context.Context, disk bool) ([]instanceRow, error) {
	names, err := instanceNames()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, countLimit)
	defer cancel()
	rows := make([]instanceRow, len(names))
	var group errgroup.Group
	for n, name := range names {
		group.Go(func() error {
			i, err := loadNamed(name)
			if err != nil {
				// One that cannot be used must not hide the others.
				rows[n] = instanceRow{Name: name, Status: client.StatusUnusable, Error: err.Error()}
				return nil
			}
			rows[n] = newInstanceRow(i)
			if disk && !i.Settings.Adopts() {
				rows[n].DiskBytes, rows[n].DiskWhole = i.DiskUsage(ctx)
				rows[n].disk = true
			}
			return nil
		})
	}
	return rows, group.Wait()
}

func newInstanceRow(i *instance.Instance) instanceRow {
	o := instance.Observe(i)
	row := instanceRow{
		Name:    i.Name,
		Driver:  i.Settings.Driver,
		Engine:  i.Settings.Engine,
		Status:  client.Status(o, i),
		Context: i.Context(),
	}
	if f := client.LastFailure(o); f != nil {
		row.Failure = f.Message
	}
	if o.State != nil && o.Live {
		row.Host, row.Version, row.StartedAt = o.State.Instance.Host, o.State.Engine.Version, o.State.Engine.StartedAt
		row.count(i)
	}
	// One Docker configuration that hangs must not block the others.
	row.Current, _ = contexts.Soon("current:"+i.Name, func() bool {
		docker, err := contexts.Config(i)
		return err == nil && isCurrent(docker, i)
	})
	return row
}

func (r *instanceRow) count(i *instance.Instance) {
	s, err := state.Read(i.Paths.StateFile())
	if err != nil || s.Mirror.SyncedAt.IsZero() {
		return
	}
	r.live, r.Total = true, len(s.Containers)
	for _, c := range s.Containers {
		if c.State == state.StateRunning {
			r.Running++
		}
	}
}

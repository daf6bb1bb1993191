package commands

import (
	"github.com/spf13/cobra"

	"github.com/docker-rd/docker-rd/client"
	"github.com/docker-rd/docker-rd/commands/output"
	"github.com/docker-rd/docker-rd/instance"
	"github.com/docker-rd/docker-rd/instance/contexts"
	"github.com/docker-rd/docker-rd/mirror/state"
)

// An instanceRow is an instance in a list.
type instanceRow struct {
	Name    string `json:"name"`
	Driver  string `json:"driver"`
	Engine  string `json:"engine"`
	Status  string `json:"status"`
	Context string `json:"context"`
	Current bool   `json:"current"` // by our doing or the user's
	Host    string `json:"host"`
	Version string `json:"version"`
	Error   string `json:"error,omitempty"`
	Failure string `json:"failure,omitempty"` // why the instance is down for good
}

// FullHeader implements docker's formatter.SubContext. As in docker's list of
// contexts, Current has no header: it marks a name.
func (instanceRow) FullHeader() any {
	return map[string]string{
		"Name": "NAME", "Driver": "DRIVER", "Engine": "ENGINE", "Status": "STATUS", "Context": "CONTEXT",
		"Host": "HOST", "Version": "VERSION", "Error": "ERROR", "Failure": "FAILURE",
	}
}

var instanceLayout = output.Layout{
	Table: "{{.Name}}\t{{.Status}}\t{{.Driver}}\t{{.Context}}{{if .Current}} *{{end}}\t{{.Host}}\t{{.Version}}",
	Key:   "{{.Name}}",
}

func (a *app) newLs() *cobra.Command {
	var o output.Options
	cmd := &cobra.Command{
		Use:               "ls [OPTIONS]",
		Aliases:           []string{"list"},
		Short:             "List instances",
		Args:              takes(0, 0),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir, err := dockerConfig()
			if err != nil {
				return err
			}
			a.mend(cmd.Context(), dir)
			rows, err := instanceRows()
			if err != nil {
				return err
			}
			return output.WriteRows(a.out(), o, instanceLayout, rows)
		},
	}
	o.AddFlags(cmd, "names")
	return cmd
}

func instanceRows() ([]instanceRow, error) {
	names, err := instanceNames()
	if err != nil {
		return nil, err
	}
	var rows []instanceRow
	for _, name := range names {
		i, err := loadNamed(name)
		if err != nil {
			// One that cannot be used must not hide the others.
			rows = append(rows, instanceRow{Name: name, Status: "unusable", Error: err.Error()})
			continue
		}
		rows = append(rows, newInstanceRow(i))
	}
	return rows, nil
}

func newInstanceRow(i *instance.Instance) instanceRow {
	o := instance.Observe(i)
	row := instanceRow{
		Name:    i.Name,
		Driver:  i.Settings.Driver,
		Engine:  i.Settings.Engine,
		Status:  statusWord(o, i),
		Context: i.Context(),
	}
	if f := client.LastFailure(o); f != nil {
		row.Failure = f.Message
	}
	if o.State != nil && o.Live {
		row.Host, row.Version = o.State.Instance.Host, o.State.Engine.Version
	}
	// The instance's Docker configuration is none of the others' business.
	row.Current, _ = contexts.Soon("current:"+i.Name, func() bool {
		docker, err := contexts.Config(i)
		return err == nil && isCurrent(docker, i)
	})
	return row
}

// statusWord sums up an instance for a list. `status` tells the facts apart.
func statusWord(o instance.Observation, i *instance.Instance) string {
	switch c := o.Condition(state.EngineReady); {
	case o.Condition(state.Ready).Status == state.True:
		return "ready"
	case o.Live && c.Status == state.True:
		return "running" // the mirror is not synced yet, or not any more
	case client.LastFailure(o) != nil && (o.Live || client.Stopped(i)):
		return "failed"
	case o.Live && c.Reason == state.ReasonStarting:
		return "starting"
	case o.Live && c.Reason == state.ReasonStopped:
		return "stopping"
	case o.Live:
		return c.Reason
	case o.Supervised:
		return "starting"
	}
	if !client.Stopped(i) {
		return "unsupervised"
	}
	return "stopped"
}

package commands

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/spf13/cobra"

	"github.com/docker-rd/docker-rd/client"
	"github.com/docker-rd/docker-rd/commands/output"
	"github.com/docker-rd/docker-rd/dockercontext"
	"github.com/docker-rd/docker-rd/engine"
	"github.com/docker-rd/docker-rd/instance"
	"github.com/docker-rd/docker-rd/instance/contexts"
	"github.com/docker-rd/docker-rd/internal/endpoint"
	"github.com/docker-rd/docker-rd/internal/failure"
	"github.com/docker-rd/docker-rd/mirror/state"
)

// askTimeout is how long status waits for the engine's own answer.
const askTimeout = 3 * time.Second

// instanceStatus is all facts about an instance. Each can be wrong on its own.
type instanceStatus struct {
	Name         string            `json:"name"`
	UID          string            `json:"uid"`
	Status       string            `json:"status"`
	Settings     instance.Settings `json:"settings"`
	Supervisor   supervisorFact    `json:"supervisor"`
	Engine       engineFact        `json:"engine"`
	API          apiFact           `json:"api"`
	Context      contextFact       `json:"context"`
	Mirror       mirrorFact        `json:"mirror"`
	Pending      []string          `json:"pending"`               // settings that wait for a restart, as KEY=VALUE
	Boot         *client.Boot      `json:"boot,omitempty"`        // nil where the instance does not start with the system
	LastFailure  *state.Failure    `json:"lastFailure,omitempty"` // why the last start or engine failed
	Lacks        []string          `json:"lacks,omitempty"`       // what the running engine can't do here, each with how to mend it
	Conditions   []state.Condition `json:"conditions"`
	DockerConfig string            `json:"dockerConfig"`
	Disk         *diskFact         `json:"disk,omitempty"` // nil for an adopted engine
}

type supervisorFact struct {
	Running bool      `json:"running"`
	PID     int       `json:"pid,omitempty"`
	Since   time.Time `json:"since,omitzero"`
	Version string    `json:"version,omitempty"`
}

type engineFact struct {
	Running   bool      `json:"running"` // its process runs; false for an adopted engine
	Remains   bool      `json:"remains"` // any process of it runs; some may be left by a crash
	PID       int       `json:"pid,omitempty"`
	StartedAt time.Time `json:"startedAt,omitzero"`
	Version   string    `json:"version,omitempty"`
}

type apiFact struct {
	Host    string `json:"host"`
	Answers bool   `json:"answers"`
	Error   string `json:"error,omitempty"`

	hangs bool // it accepts connections, but does not answer
}

type diskFact struct {
	Bytes int64 `json:"bytes"` // of images, containers and volumes
	Whole bool  `json:"whole"` // false: there are more
}

type contextFact struct {
	Name    string `json:"name"`
	Owned   bool   `json:"owned"`
	Exists  bool   `json:"exists"`
	Current bool   `json:"current"`
}

type mirrorFact struct {
	Connected bool                    `json:"connected"`
	SyncedAt  time.Time               `json:"syncedAt,omitzero"`
	WrittenAt time.Time               `json:"writtenAt,omitzero"`
	Revision  uint64                  `json:"revision"`
	Unwritten bool                    `json:"unwritten,omitempty"` // the supervisor can't write it, as on a full disk
	Deletions []state.PendingDeletion `json:"deletions,omitempty"`
	Error     string                  `json:"error,omitempty"`
}

func (a *app) newStatus() *cobra.Command {
	var o output.Options
	cmd := a.onInstance(&cobra.Command{
		Use:   "status [OPTIONS] [INSTANCE]",
		Short: "Show the status of an instance",
	}, a.loadAnyway, func(cmd *cobra.Command, i *instance.Instance) error {
		a.repair(cmd.Context(), i.DockerConfig)
		s := statusOf(cmd.Context(), i)
		if err := cmd.Context().Err(); err != nil {
			return err // interrupted: what did not answer by then may be well
		}
		return output.WriteObject(a.out(), o, s, s.write)
	})
	o.AddFormat(cmd)
	return cmd
}

func statusOf(ctx context.Context, i *instance.Instance) instanceStatus {
	o := instance.Observe(i)
	s := instanceStatus{
		Name: i.Name, UID: i.UID, Status: client.Status(o, i), Settings: i.Settings, DockerConfig: i.DockerConfig,
		Context:    contextFact{Name: i.Context(), Owned: i.OwnsContext()},
		Conditions: []state.Condition{},
		Pending:    []string{},
	}
	if i.Settings.Autostart {
		boot := client.BootOf(i)
		s.Boot = &boot
	}
	s.Supervisor.Running = o.Supervised
	if o.Supervised {
		s.Pending = append(s.Pending, i.Pending()...)
		s.Supervisor.PID, s.Supervisor.Since = o.Holder.PID, o.Holder.Since
	}
	if st := o.State; st != nil {
		s.LastFailure = st.LastFailure
		s.Mirror = mirrorFact{SyncedAt: st.Mirror.SyncedAt, WrittenAt: st.WrittenAt, Revision: st.Revision}
		if o.Live {
			s.Supervisor.Version = st.Supervisor.Version
			s.Mirror.Connected = st.Mirror.Connected
			s.Mirror.Unwritten = state.Stale(i.Paths.StateFile())
			s.Mirror.Deletions = deletions(i)
			for _, typ := range conditionTypes {
				if c, ok := st.Condition(typ); ok {
					s.Conditions = append(s.Conditions, c)
				}
			}
			s.Engine = engineFact{PID: st.Engine.PID, StartedAt: st.Engine.StartedAt, Version: st.Engine.Version}
		}
	} else if o.StateErr != nil {
		s.Mirror.Error = o.StateErr.Error()
	}
	if driver, err := engine.DriverFor(i, nil); err == nil {
		life := driver.Life()
		s.Engine.Running, s.Engine.Remains = life == engine.Alive, life != engine.Gone
	}
	if s.Engine.Running {
		for _, limit := range engine.Lacks(i) {
			s.Lacks = append(s.Lacks, strings.TrimSuffix(limit.Error()+"; hint: "+failure.Hint(limit), "; hint: "))
		}
	}
	counted := make(chan *diskFact, 1)
	go func() { counted <- diskOf(ctx, i) }()
	s.API = askAPI(ctx, i, askTimeout)
	s.Disk = <-counted
	if s.Status == client.StatusReady && !s.API.Answers {
		s.Status = client.StatusUnresponsive // its supervisor has not noticed yet
	}
	if docker, err := contexts.Config(i); err == nil && i.Context() != "" {
		_, err := docker.Endpoint(i.Context())
		s.Context.Exists = !errdefs.IsNotFound(err)
		s.Context.Current = isCurrent(docker, i)
	}
	return s
}

// diskOf counts the files of an instance, for askTimeout at most.
func diskOf(ctx context.Context, i *instance.Instance) *diskFact {
	if i.Settings.Adopts() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	var d diskFact
	d.Bytes, d.Whole = i.DiskUsage(ctx)
	return &d
}

// deletions returns the requested deletions of an instance's objects.
func deletions(i *instance.Instance) []state.PendingDeletion {
	s, err := state.Read(i.Paths.StateFile())
	if err != nil {
		return nil
	}
	return s.Deletions()
}

// answer returns nil where the engine answers.
func answer(ctx context.Context, i *instance.Instance, ep endpoint.Endpoint) error {
	if i.Settings.Engine != instance.KindContainerd {
		_, err := ep.Ping(ctx)
		return err
	}
	e, err := i.Connector(func() (endpoint.Endpoint, error) { return ep, nil }).Connect()
	if err != nil {
		return err
	}
	defer e.Close()
	return e.Ping(ctx)
}

// askAPI asks the engine itself, whatever the supervisor thinks of it, and waits for its answer until
// the timeout.
func askAPI(ctx context.Context, i *instance.Instance, timeout time.Duration) apiFact {
	ep, err := endpointOf(i)
	if err != nil {
		return apiFact{Error: err.Error()}
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	err = answer(ctx, i, ep)
	fact := apiFact{Host: ep.Shown(), Answers: err == nil}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		fact.Error, fact.hangs = fmt.Sprintf("timed out after %s", timeout), true
	case err != nil:
		fact.Error = dockercontext.Explain(ctx, ep, err).Error()
	}
	return fact
}

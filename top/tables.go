package top

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/docker/go-units"

	"github.com/docker-rd/docker-rd/board"
	"github.com/docker-rd/docker-rd/commands/objects"
	"github.com/docker-rd/docker-rd/mirror/state"
)

// Numbers of tables.
const (
	instancesTab  = 0
	containersTab = 1
	conditionsTab = 5
)

var tables = []table{
	{"Instances", []column{
		{title: "NAME", ends: true}, {title: "STATUS"}, {title: "CONTAINERS", right: true, number: true}, {title: "IMAGES", right: true, number: true},
		{title: "DRIVER"}, {title: "VERSION"}, {title: "CONTEXT"}, {title: "HOST", whole: true},
	}, instanceRows},
	{"Containers", []column{
		{title: "NAME", ends: true}, {title: "STATUS"}, {title: "CPU", right: true, number: true}, {title: "MEMORY", right: true, number: true},
		{title: "IMAGE", ends: true}, {title: "PORTS"}, {title: "INSTANCE"},
	}, containerRows},
	{"Images", []column{
		{title: "NAME", ends: true}, {title: "SIZE", right: true, number: true}, {title: "CREATED", number: true}, {title: "PLATFORM"}, {title: "INSTANCE"},
	}, imageRows},
	{"Volumes", []column{{title: "NAME", ends: true}, {title: "DRIVER"}, {title: "CREATED", number: true}, {title: "INSTANCE"}}, volumeRows},
	{"Networks", []column{{title: "NAME", ends: true}, {title: "DRIVER"}, {title: "SUBNETS"}, {title: "INSTANCE"}}, networkRows},
	{"Conditions", []column{{title: "TYPE"}, {title: "STATUS"}, {title: "REASON"}, {title: "SINCE", number: true}, {title: "INSTANCE"}, {title: "MESSAGE"}}, conditionRows},
}

func instanceRows(_ *model, v board.View, _ time.Time) []row {
	status := cell{text: v.Status(), mood: bad}
	switch status.text {
	case "ready", "running":
		status.mood = good
	case "starting", "stopping", "restarting":
		status.mood = waiting
	case "stopped":
		status.mood = faint
	}
	if v.Err != nil {
		return []row{{object{instance: v.Name}, v.Name, []cell{{text: v.Name}, status, {}, {}, {}, {}, {}, {text: v.Err.Error()}}}}
	}
	var s state.State
	if v.State != nil {
		s = *v.State
	}
	running := 0
	for _, c := range s.Containers {
		if c.State == state.StateRunning {
			running++
		}
	}
	cells := []cell{
		{text: v.Name}, status,
		{text: fmt.Sprintf("%d/%d", running, len(s.Containers)), order: float64(len(s.Containers))},
		{text: strconv.Itoa(len(s.Images)), order: float64(len(s.Images))},
		{text: v.Instance.Settings.Driver}, {text: s.Engine.Version}, {text: v.Instance.Context()}, {text: s.Instance.Host},
	}
	if !v.Live && len(s.Namespaces) == 0 { // what a stopped engine has is not known
		cells[2], cells[3], cells[5], cells[7] = cell{}, cell{}, cell{}, cell{}
	}
	return []row{{object{instance: v.Name}, v.Name, cells}}
}

func containerRows(m *model, v board.View, now time.Time) []row {
	var rows []row
	for key, c := range v.State.Containers {
		known := v.UpToDate()
		if !known {
			now = v.State.WrittenAt
		}
		brief := objects.BriefOf(v.State, &c, now)
		status := cell{text: brief.Status, mood: faint}
		switch {
		case !known:
			status.text = "was: " + brief.Status
		case c.Health == state.HealthUnhealthy, c.State == state.StateExited && c.ExitCode != 0, c.State == state.StateDead:
			status.mood = bad
		case c.State == state.StateRunning:
			status.mood = good
		case c.State == state.StatePaused, c.State == state.StateRestarting:
			status.mood = waiting
		}
		if c.HealthCheck != nil && c.State == state.StateRunning {
			if said, _, _ := strings.Cut(strings.TrimSpace(c.HealthCheck.LastOutput), "\n"); said != "" {
				status.text += ": " + said
			}
		}
		if c.Action != nil {
			status.text, status.mood = status.text+" ("+c.Action.Action+" under way)", waiting
		}
		pending(&status, c.Deletion)
		about := object{v.Name, state.Containers, key}
		cpu, memory := cell{order: -1}, cell{order: -1}
		if u, ok := m.usage[about]; ok {
			cpu = cell{text: fmt.Sprintf("%.1f%%", u.CPU), order: u.CPU}
			memory = cell{text: units.BytesSize(float64(u.Memory)), order: float64(u.Memory)}
		}
		rows = append(rows, row{about, c.Name, []cell{{text: c.Name}, status, cpu, memory, {text: brief.Image}, {text: brief.Ports}, {text: v.Name}}})
	}
	return rows
}

func imageRows(_ *model, v board.View, now time.Time) []row {
	var rows []row
	for key, i := range v.State.Images {
		name := cell{text: strings.Join(i.RepoTags, ", ")}
		if name.text == "" {
			name = cell{text: objects.ShortID(i.ID), mood: faint}
		}
		called := name.text
		for _, d := range i.Deletions {
			pending(&name, &d)
		}
		rows = append(rows, row{object{v.Name, state.Images, key}, called, []cell{
			name, {text: units.HumanSize(float64(i.Size)), order: float64(i.Size)}, since(i.CreatedAt, now),
			{text: path.Join(i.OS, i.Architecture, i.Variant)}, {text: v.Name},
		}})
	}
	return rows
}

func volumeRows(_ *model, v board.View, now time.Time) []row {
	var rows []row
	for key, o := range v.State.Volumes {
		name := cell{text: o.Name}
		pending(&name, o.Deletion)
		rows = append(rows, row{object{v.Name, state.Volumes, key}, o.Name, []cell{name, {text: o.Driver}, since(o.CreatedAt, now), {text: v.Name}}})
	}
	return rows
}

func networkRows(_ *model, v board.View, _ time.Time) []row {
	var rows []row
	for key, n := range v.State.Networks {
		name := cell{text: n.Name}
		pending(&name, n.Deletion)
		rows = append(rows, row{object{v.Name, state.Networks, key}, n.Name, []cell{name, {text: n.Driver}, {text: strings.Join(n.Subnets, ", ")}, {text: v.Name}}})
	}
	return rows
}

func conditionRows(_ *model, v board.View, now time.Time) []row {
	if !v.Live {
		return nil // nobody keeps them
	}
	var rows []row
	for _, c := range v.State.Conditions {
		status := cell{text: string(c.Status), mood: faint}
		switch c.Status {
		case state.True:
			status.mood = good
		case state.Unknown:
			status.mood = waiting
		}
		rows = append(rows, row{object{instance: v.Name, key: c.Type}, c.Type, []cell{
			{text: c.Type}, status, {text: string(c.Reason)}, since(c.LastTransitionTime, now), {text: v.Name}, {text: c.Message},
		}})
	}
	return rows
}

func since(t, now time.Time) cell {
	if t.IsZero() {
		return cell{}
	}
	return cell{text: units.HumanDuration(now.Sub(t)) + " ago", order: float64(t.Unix())}
}

func pending(c *cell, d *state.Deletion) {
	if d == nil {
		return
	}
	c.text += " (to be deleted"
	if d.Error != "" {
		c.text += ": " + d.Error
	}
	c.text += ")"
	c.mood = waiting
}

// isPending reports whether the deletion of an object is requested.
func isPending(v board.View, o object) bool {
	return v.State != nil && slices.ContainsFunc(v.State.Deletions(), func(d state.PendingDeletion) bool {
		return d.Kind == o.kind && d.ID == o.key
	})
}

package commands

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/docker-rd/docker-rd/instance"
	"github.com/docker-rd/docker-rd/mirror/state"
)

// write prints the facts for people.
func (s instanceStatus) write(w io.Writer) error {
	for _, fact := range []struct {
		name  string
		lines []string // empty ones are left out
	}{
		{"Instance", []string{s.Name + " (" + s.Status + ")"}},
		{"Driver", []string{s.Settings.Driver + when(s.Settings.Engine == instance.KindContainerd, ", engine "+s.Settings.Engine, "")}},
		{"Supervisor", []string{s.Supervisor.text()}},
		{"Engine", []string{s.engineText()}},
		{"API", []string{s.API.Host + " " + when(s.API.Answers, "answers", "does not answer: "+s.API.Error)}},
		{"Context", []string{s.Context.text()}},
		{"Mirror", []string{s.Mirror.text()}},
		{"Deletions", texts(s.Mirror.Deletions, deletionText)},
		{"Disk", []string{s.Disk.text()}},
		{"Settings", []string{strings.Join(s.Settings.Changed(), ", ")}},
		{"Lacks", s.Lacks},
		{"Boot", []string{s.bootText()}},
		{"Pending", []string{when(len(s.Pending) > 0, strings.Join(s.Pending, ", ")+", after a restart", "")}},
		{"Failure", []string{failureText(s.LastFailure)}},
		{"Conditions", texts(s.Conditions, conditionText)},
	} {
		name := fact.name + ":"
		for _, line := range fact.lines {
			if line == "" {
				continue
			}
			if _, err := fmt.Fprintf(w, "%-13s%s\n", name, line); err != nil {
				return err
			}
			name = ""
		}
	}
	return nil
}

func when(is bool, yes, no string) string {
	if is {
		return yes
	}
	return no
}

func texts[T any](facts []T, text func(T) string) (lines []string) {
	for _, f := range facts {
		lines = append(lines, text(f))
	}
	return lines
}

func (f supervisorFact) text() string {
	switch {
	case !f.Running:
		return "not running"
	case f.PID == 0: // it could not describe itself, as on a full disk
		return "running"
	}
	return fmt.Sprintf("running, pid %d, since %s", f.PID, f.Since.Local().Format(time.DateTime))
}

func (s instanceStatus) engineText() string {
	switch e := s.Engine; {
	case s.Settings.Adopts():
		return "adopted" + when(e.Version != "", ", version "+e.Version, "")
	case e.Running && e.PID != 0:
		return fmt.Sprintf("running, pid %d, version %s", e.PID, e.Version)
	case e.Running:
		return "running"
	default:
		return "not running" + when(e.Remains, ", but some of its processes are left", "")
	}
}

func (f contextFact) text() string {
	if f.Name == "" {
		return "none: docker can't use a containerd"
	}
	return f.Name + " " + when(f.Exists, "exists", "does not exist") + when(f.Current, ", is the current one", "")
}

func (f mirrorFact) text() string {
	how := when(f.Connected, "live", "not connected")
	switch {
	case f.Error != "":
		return f.Error
	case f.Unwritten:
		how = "can't be written since " + ago(f.WrittenAt)
	}
	return how + ", synced " + ago(f.SyncedAt)
}

func deletionText(f state.PendingDeletion) string {
	return fmt.Sprintf("%s %s: requested %s", f.Kind, f.Name, ago(f.RequestedAt)) + after(f.Error)
}

func (f *diskFact) text() string {
	if f == nil {
		return ""
	}
	return humanSize(f.Bytes, f.Whole)
}

func (s instanceStatus) bootText() string {
	if s.Boot == nil {
		return ""
	}
	switch {
	case !s.Boot.Enabled:
		return s.Boot.Unit + " is missing or disabled: `docker-rd set " + s.Name + " autostart=true` makes it anew"
	case !s.Boot.Lingers:
		return s.Boot.Unit + " starts it when " + s.Boot.User + " logs in: `sudo loginctl enable-linger " + s.Boot.User + "` makes it start with the system"
	}
	return s.Boot.Unit
}

func failureText(f *state.Failure) string {
	if f == nil {
		return ""
	}
	return fmt.Sprintf("%s, %s", f.Reason, ago(f.Time)) + after(f.Message)
}

func conditionText(c state.Condition) string {
	return fmt.Sprintf("%-16s%-8s%s", c.Type, c.Status, c.Reason) + after(c.Message)
}

// after returns a message, which may have several lines, for the end of a line; "" for none.
func after(message string) string {
	if message == "" {
		return ""
	}
	return ": " + strings.ReplaceAll(message, "\n", "; ")
}

func ago(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return humanDuration(time.Since(t)) + " ago"
}

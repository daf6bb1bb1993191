package commands

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/docker-rd/docker-rd/commands/output"
	"github.com/docker-rd/docker-rd/dockercontext"
	"github.com/docker-rd/docker-rd/internal/failure"
)

type findingRow struct {
	dockercontext.Finding
	Fixed  bool   `json:"fixed"`
	Result string `json:"result,omitempty"`
	Backup string `json:"backup,omitempty"`
	Error  string `json:"error,omitempty"`
}

type doctorOptions struct {
	output.Options
	fix bool
}

func (a *app) newContextDoctor() *cobra.Command {
	var o doctorOptions
	cmd := &cobra.Command{
		Use:   "doctor [OPTIONS]",
		Short: "Check and repair the Docker configuration",
		Long: `Check the Docker configuration: for a current context that does not exist, damaged
contexts, an invalid config.json, and more.

--fix repairs what is docker rd's or provably broken, and first copies each file that it
changes. The exit status is 1 while something is wrong.`,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.runDoctor(cmd, o) },
	}
	cmd.Flags().BoolVar(&o.fix, "fix", false, "Repair what can be repaired")
	o.AddFormat(cmd)
	return cmd
}

func (a *app) runDoctor(cmd *cobra.Command, o doctorOptions) error {
	// Other commands repair first. Here everything is to be explained.
	c, err := shellContexts(cmd)
	if err != nil {
		return err
	}
	people := o.IsTable()
	var rows []findingRow
	type finding struct{ code, subject string }
	known := map[finding]bool{}
	wrong := false
	// A repair can reveal something else, such as a current context whose damaged metadata was
	// moved aside.
	for again := true; again; {
		again = false
		findings, err := c.Doctor(cmd.Context())
		if err != nil {
			return err
		}
		for _, f := range findings {
			id := finding{f.Code, f.Subject}
			if known[id] {
				continue
			}
			known[id] = true
			row := a.treat(cmd.Context(), o.fix, people, f)
			again = again || row.Fixed
			wrong = wrong || !row.Fixed
			rows = append(rows, row)
		}
	}
	if len(rows) == 0 && people {
		_, err := fmt.Fprintf(a.out(), "No problems found in the Docker configuration in %s.\n", c.Dir())
		return err
	}
	if !people {
		if err := output.WriteRows(a.out(), o.Options, output.Layout{}, rows); err != nil {
			return err
		}
	}
	if wrong {
		return ExitStatus(failure.CodeFailed)
	}
	return nil
}

// treat repairs a finding if fix is set and it can be repaired. For people it prints both.
func (a *app) treat(ctx context.Context, fix, people bool, f dockercontext.Finding) findingRow {
	row := findingRow{Finding: f}
	if people {
		a.printFinding(f)
	}
	if !fix || !f.Fixable {
		return row
	}
	fixed, err := f.Fix(ctx)
	row.Fixed, row.Result, row.Backup = err == nil, fixed.Message, fixed.Backup
	if err != nil {
		row.Error = err.Error()
	}
	if people {
		a.printFix(row)
	}
	return row
}

func (a *app) printFinding(f dockercontext.Finding) {
	remedy := "remedy"
	if f.Fixable {
		remedy = "--fix"
	}
	_, _ = fmt.Fprintf(a.out(), "%s %s\n  %s\n  %s: %s\n", f.Code, f.Subject, f.Message, remedy, f.Remedy)
}

func (a *app) printFix(row findingRow) {
	if row.Error != "" {
		_, _ = fmt.Fprintf(a.out(), "  failed: %s\n", row.Error)
		return
	}
	_, _ = fmt.Fprintf(a.out(), "  done: %s\n", row.Result)
	if row.Backup != "" {
		_, _ = fmt.Fprintf(a.out(), "  copy: %s\n", row.Backup)
	}
}

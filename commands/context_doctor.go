package commands

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/docker-rd/docker-rd/dockercontext"
	"github.com/docker-rd/docker-rd/internal/failure"
	"github.com/docker-rd/docker-rd/supervisor"
)

// A findingRow is something that is wrong, and what was done about it.
type findingRow struct {
	dockercontext.Finding
	Fixed  bool   `json:"fixed"`
	Result string `json:"result,omitempty"`
	Backup string `json:"backup,omitempty"`
	Error  string `json:"error,omitempty"`
}

// FullHeader implements docker's formatter.SubContext.
func (findingRow) FullHeader() any {
	return map[string]string{
		"Code": "CODE", "Subject": "SUBJECT", "Message": "MESSAGE", "Remedy": "REMEDY", "Fixable": "FIXABLE",
		"Fixed": "FIXED", "Result": "RESULT", "Backup": "BACKUP", "Error": "ERROR",
	}
}

type doctorOptions struct {
	listOptions
	fix bool
}

func (a *app) newContextDoctor() *cobra.Command {
	var o doctorOptions
	cmd := &cobra.Command{
		Use:   "doctor [OPTIONS]",
		Short: "Find what is wrong with the Docker configuration, and mend it",
		Long: `Find what is wrong with the Docker configuration: a current context that does not
exist, damaged contexts, an invalid config.json, and more.

With --fix, what is docker rd's or provably broken is mended. What is changed is
copied beside it first. The exit status is 1 while something is wrong.`,
		Args:              cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(cmd *cobra.Command, _ []string) error { return a.runDoctor(cmd, o) },
	}
	cmd.Flags().BoolVar(&o.fix, "fix", false, "Mend what can be mended")
	o.addFormat(cmd)
	return cmd
}

func (a *app) runDoctor(cmd *cobra.Command, o doctorOptions) error {
	// Nothing is mended beforehand, as other commands do: it is to be explained.
	c, err := shellContexts(cmd)
	if err != nil {
		return err
	}
	instances, err := instancesUnder(c.Dir())
	if err != nil {
		return err
	}
	people := o.format == "table"
	found := c.Doctor(cmd.Context(), instances)
	if len(found) == 0 && people {
		_, err := fmt.Fprintf(a.out(), "Nothing is wrong with the Docker configuration in %s.\n", c.Dir())
		return err
	}
	var rows []findingRow
	wrong := false
	for _, f := range found {
		row := findingRow{Finding: f}
		if people {
			a.printFinding(f)
		}
		if o.fix && f.Fixable {
			a.fix(cmd, c, &row)
			if people {
				a.printFix(row)
			}
		}
		wrong = wrong || !row.Fixed
		rows = append(rows, row)
	}
	if !people {
		if err := writeRows(a.out(), o.listOptions, "", "", rows); err != nil {
			return err
		}
	}
	if wrong {
		return ExitStatus(failure.CodeFailed)
	}
	return nil
}

func (a *app) fix(cmd *cobra.Command, c *dockercontext.Config, row *findingRow) {
	fixed, err := c.Fix(cmd.Context(), row.Finding, func() []dockercontext.Owner { return supervisor.Running(c.Dir()) })
	row.Fixed, row.Result, row.Backup = err == nil, fixed.Message, fixed.Backup
	if err != nil {
		row.Error = err.Error()
	}
}

// printFinding says what is wrong, and what will or can be done about it.
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

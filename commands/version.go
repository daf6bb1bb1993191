package commands

import (
	"fmt"
	"io"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/docker-rd/docker-rd/commands/output"
	"github.com/docker-rd/docker-rd/internal/version"
)

func (a *app) newVersion() *cobra.Command {
	var o output.Options
	cmd := &cobra.Command{
		Use:   "version [OPTIONS]",
		Short: "Show the version of docker-rd",
		RunE: func(*cobra.Command, []string) error {
			v := struct {
				Version   string `json:"version"`
				Commit    string `json:"commit,omitempty"`
				Date      string `json:"date,omitempty"` // of the commit
				GoVersion string `json:"goVersion"`
				OS        string `json:"os"`
				Arch      string `json:"arch"`
			}{version.Version(), version.Commit(), version.Date(), runtime.Version(), runtime.GOOS, runtime.GOARCH}
			return output.WriteObject(a.out(), o, v, func(w io.Writer) error {
				built := ""
				if v.Commit != "" {
					built = fmt.Sprintf("commit %.12s of %s, ", v.Commit, v.Date)
				}
				_, err := fmt.Fprintf(w, "docker-rd version %s (%s%s, %s/%s)\n", v.Version, built, v.GoVersion, v.OS, v.Arch)
				return err
			})
		},
	}
	o.AddFormat(cmd)
	return cmd
}

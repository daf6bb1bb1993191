package commands

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/docker-rd/docker-rd/engine"
	"github.com/docker-rd/docker-rd/internal/version"
)

func (a *app) newDiagnose() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "diagnose [OPTIONS] [INSTANCE]",
		Short: "Write an archive with all that a bug report needs",
		Long: `Write an archive with all that a bug report needs: versions, settings, the state
file, logs and what status tells. Keys, certificates, registry credentials and
containers' environment variables are not in it.`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: a.completeInstance,
		RunE: func(cmd *cobra.Command, args []string) error {
			i, err := a.load(args)
			if err != nil {
				return err
			}
			return a.runDiagnose(cmd.Context(), i, output)
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "", `File to write, "-" for standard output (default docker-rd-INSTANCE-TIME.tar.gz)`)
	return cmd
}

func (a *app) runDiagnose(ctx context.Context, i *engine.Instance, output string) (err error) {
	name := "docker-rd-" + i.Name + "-" + time.Now().UTC().Format("20060102T150405Z")
	if output == "" {
		output = name + ".tar.gz"
	}
	w := a.out()
	if output != "-" {
		// Not replaced: it may be what was asked for last time.
		file, err := os.OpenFile(output, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o600)
		if err != nil {
			return fmt.Errorf("diagnose: %w", err)
		}
		defer func() {
			if err = errors.Join(err, file.Close()); err != nil {
				_ = os.Remove(output)
				return
			}
			_, err = fmt.Fprintln(a.out(), output)
		}()
		w = file
	}
	zip := gzip.NewWriter(w)
	d := diagnosis{archive: tar.NewWriter(zip), root: name}
	err = d.collect(ctx, i)
	return errors.Join(err, d.archive.Close(), zip.Close())
}

// diagnosis is an archive in the making.
type diagnosis struct {
	archive *tar.Writer
	root    string
}

func (d *diagnosis) collect(ctx context.Context, i *engine.Instance) error {
	i.Settings.Host = withoutPassword(i.Settings.Host)
	errs := []error{
		d.object("version.json", map[string]string{
			"version": version.Version(), "go": runtime.Version(), "os": runtime.GOOS, "arch": runtime.GOARCH,
		}),
		d.object("instance.json", i),
		d.object("status.json", statusOf(ctx, i)),
		d.file("state.json", i.Paths.StateFile()),
	}
	logs, err := os.ReadDir(i.Paths.LogDir())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		errs = append(errs, err)
	}
	for _, log := range logs {
		errs = append(errs, d.file(path.Join("log", log.Name()), filepath.Join(i.Paths.LogDir(), log.Name())))
	}
	return errors.Join(errs...)
}

func (d *diagnosis) object(name string, v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return d.add(name, int64(len(data)), bytes.NewReader(data))
}

// file adds a file as it is now, whole. One that does not exist is left out.
func (d *diagnosis) file(name, from string) error {
	file, err := os.Open(from)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	// A log may grow while it is read.
	return d.add(name, info.Size(), io.LimitReader(file, info.Size()))
}

func (d *diagnosis) add(name string, size int64, content io.Reader) error {
	err := d.archive.WriteHeader(&tar.Header{
		Name: path.Join(d.root, name), Mode: 0o600, Size: size, ModTime: time.Now(),
	})
	if err == nil {
		_, err = io.Copy(d.archive, content)
	}
	if err != nil {
		return fmt.Errorf("diagnose: %s: %w", name, err)
	}
	return nil
}

// withoutPassword returns a URL without the password in it.
func withoutPassword(host string) string {
	u, err := url.Parse(host)
	if err != nil || u.User == nil {
		return host
	}
	return strings.Replace(host, u.User.String()+"@", u.User.Username()+"@", 1)
}

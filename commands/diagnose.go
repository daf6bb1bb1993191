package commands

import (
	"archive/tar"
	"bufio"
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/moby/moby/client"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/docker-rd/docker-rd/dockercontext"
	"github.com/docker-rd/docker-rd/instance"
	"github.com/docker-rd/docker-rd/instance/contexts"
	"github.com/docker-rd/docker-rd/internal/endpoint"
	"github.com/docker-rd/docker-rd/internal/files"
	"github.com/docker-rd/docker-rd/internal/version"
)

func (a *app) newDiagnose() *cobra.Command {
	var output string
	cmd := a.onInstance(&cobra.Command{
		Use:   "diagnose [OPTIONS] [INSTANCE]",
		Short: "Write an archive for a bug report",
		Long: `Write an archive with everything that a bug report needs: versions, settings, the state
file, logs, the engine's own report, Docker's contexts and the output of status.

It contains names, labels and commands. It does not contain keys, certificates, registry
credentials, environment variables of containers, and what looks like a password or token.`,
	}, a.loadAnyway, func(cmd *cobra.Command, i *instance.Instance) error { return a.runDiagnose(cmd, i, output) })
	defer completeFile(cmd, "output")
	cmd.Flags().StringVarP(&output, "output", "o", "", `File to write, "-" for standard output (default docker-rd-INSTANCE-TIME.tar.gz)`)
	return cmd
}

func (a *app) runDiagnose(cmd *cobra.Command, i *instance.Instance, output string) (err error) {
	name := "docker-rd-" + i.Name + "-" + time.Now().UTC().Format("20060102T150405Z")
	if output == "" {
		output = name + ".tar.gz"
	}
	w := a.out()
	if output != "-" {
		// Not replaced: it may be what was asked for last time.
		file, openErr := os.OpenFile(output, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o600)
		if openErr != nil {
			return fmt.Errorf("diagnose: %w", openErr)
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
	err = d.collect(cmd, i)
	return cmp.Or(err, cmd.Context().Err(), d.archive.Close(), zip.Close()) // they repeat what they failed with before
}

// diagnosis is an archive that is being written.
type diagnosis struct {
	archive *tar.Writer
	root    string
	failed  []string // what could not be collected, and why
	err     error    // of writing the archive
}

func (d *diagnosis) collect(cmd *cobra.Command, i *instance.Instance) error {
	ctx := cmd.Context()
	d.object("version.json", map[string]string{
		"version": version.Version(), "go": runtime.Version(), "os": runtime.GOOS, "arch": runtime.GOARCH,
	})
	d.object("programs.json", programVersions(ctx))
	d.object("environment.json", relevantEnvironment(os.Environ()))
	d.object("instance.json", i)
	status := statusOf(ctx, i)
	d.object("status.json", status)
	d.file("state.json", i.Paths.StateFile())
	d.tree("log", i.Paths.LogDir())
	d.engine(ctx, i, status)
	d.contexts(cmd, i)
	for name, path := range systemFiles {
		d.file(filepath.Join("system", name), path)
	}
	if len(d.failed) > 0 {
		d.object("missing.json", d.failed)
	}
	return d.err
}

// systemFiles describe the system, if they exist.
var systemFiles = map[string]string{
	"os-release": "/etc/os-release", "kernel": "/proc/version", "cgroups": "/proc/cgroups", "mountinfo": "/proc/self/mountinfo",
}

// engine adds the engine's own report, if it answers, and its driver's files.
func (d *diagnosis) engine(ctx context.Context, i *instance.Instance, status instanceStatus) {
	if status.API.Answers {
		version, info, err := engineInfo(ctx, i)
		d.note("engine/info.json", err)
		if err == nil {
			d.object("engine/version.json", version)
			d.object("engine/info.json", info.Info)
		}
	}
	dir := i.Paths.EngineState()
	d.file("engine/record.json", filepath.Join(dir, "engine.json"))
	d.file("engine/daemon.json", filepath.Join(dir, "private", "daemon.json"))
	d.file("engine/slirp4netns.log", filepath.Join(dir, "private", "slirp4netns.log"))
	if status.Engine.PID != 0 {
		d.file("engine/mountinfo", fmt.Sprintf("/proc/%d/mountinfo", status.Engine.PID))
	}
}

func engineInfo(ctx context.Context, i *instance.Instance) (version client.ServerVersionResult, info client.SystemInfoResult, err error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	err = withEngine(i, func(api *endpoint.Client) (err error) {
		if version, err = api.ServerVersion(ctx, client.ServerVersionOptions{}); err == nil {
			info, err = api.Info(ctx, client.InfoOptions{})
		}
		return err
	})
	return version, info, err
}

// contexts adds the health of docker's contexts, config.json's part in them, and docker rd's
// record.
func (d *diagnosis) contexts(cmd *cobra.Command, i *instance.Instance) {
	docker, err := configHere(cmd, i.DockerConfig)
	if err != nil {
		d.note("contexts.json", err)
		return
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), dockercontext.DefaultTimeout)
	defer cancel()
	d.object("contexts.json", docker.Probe(ctx, docker.Names()...))
	d.object("docker-config.json", configKeys(filepath.Join(i.DockerConfig, "config.json")))
	if o, err := contexts.Options(i.DockerConfig); err == nil {
		d.file("promotion.json", o.RecordFile)
	}
}

// versioned are the programs that an engine runs and how they tell their version.
var versioned = []string{"docker", "dockerd", "containerd", "runc", "slirp4netns", "iptables", "podman"}

// programVersions returns the versions of the programs that engines need, where they are. One that
// hangs does not take the time of the others.
func programVersions(ctx context.Context) map[string]string {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	found := map[string]string{}
	var mu sync.Mutex
	var group errgroup.Group
	for _, name := range versioned {
		group.Go(func() error {
			path, err := exec.LookPath(name)
			if err != nil {
				path, err = exec.LookPath(filepath.Join("/usr/sbin", name)) // not on everybody's PATH
			}
			text := "not found"
			if err == nil {
				cmd := exec.CommandContext(ctx, path, "--version")
				cmd.WaitDelay = time.Second
				out, err := cmd.CombinedOutput()
				text = path + ": " + strings.TrimSpace(string(out))
				if err != nil {
					text += " (" + err.Error() + ")"
				}
			}
			mu.Lock()
			defer mu.Unlock()
			found[name] = text
			return nil
		})
	}
	_ = group.Wait()
	return found
}

// note remembers what could not be collected: the rest of the archive is still useful.
func (d *diagnosis) note(name string, err error) {
	if err != nil {
		d.failed = append(d.failed, name+": "+err.Error())
	}
}

func (d *diagnosis) object(name string, v any) {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		d.note(name, err)
		return
	}
	d.add(name, int64(len(data)), bytes.NewReader(data))
}

func (d *diagnosis) tree(name, dir string) {
	entries, err := os.ReadDir(dir)
	if !errors.Is(err, fs.ErrNotExist) {
		d.note(name, err)
	}
	for _, e := range entries {
		d.file(filepath.Join(name, e.Name()), filepath.Join(dir, e.Name()))
	}
}

// file adds a file as it is now, whole. One that does not exist is left out.
func (d *diagnosis) file(name, from string) {
	file, err := files.Open(from)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err != nil {
		d.note(name, err)
		return
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		d.note(name, err)
		return
	}
	if info.Size() == 0 { // the kernel's files report no size
		data, err := io.ReadAll(file)
		d.note(name, err)
		d.add(name, int64(len(data)), bytes.NewReader(data))
		return
	}
	// A log may grow while it is read.
	d.add(name, info.Size(), io.LimitReader(file, info.Size()))
}

// add adds size bytes of content with secrets hidden. After an error nothing more can be
// added.
func (d *diagnosis) add(name string, size int64, content io.Reader) {
	if d.err != nil {
		return
	}
	d.err = d.archive.WriteHeader(&tar.Header{
		Name: path.Join(d.root, filepath.ToSlash(name)), Mode: 0o600, Size: size, ModTime: time.Now().Truncate(time.Second),
	})
	lines := bufio.NewReader(content)
	missing := size
	for end := false; !end && d.err == nil; {
		line, err := lines.ReadBytes('\n')
		if err != nil && err != io.EOF {
			d.err = err
			break
		}
		end = err == io.EOF
		hideSecrets(line)
		_, d.err = d.archive.Write(line)
		missing -= int64(len(line))
	}
	if d.err == nil { // a log may have been truncated meanwhile
		_, d.err = d.archive.Write(bytes.Repeat([]byte{'\n'}, int(missing)))
	}
	if d.err != nil {
		d.err = fmt.Errorf("diagnose: %s: %w", name, d.err)
	}
}

package commands

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync/atomic"

	"github.com/distribution/reference"
	"github.com/docker/go-units"
	"github.com/moby/moby/client/pkg/jsonmessage"
	"github.com/spf13/cobra"

	"github.com/docker-rd/docker-rd/commands/objects"
	"github.com/docker-rd/docker-rd/instance"
	"github.com/docker-rd/docker-rd/internal/endpoint"
	"github.com/docker-rd/docker-rd/internal/failure"
)

func (a *app) newCpImage() *cobra.Command {
	var o longOptions
	cmd := &cobra.Command{
		Use:   "cp-image [OPTIONS] FROM TO IMAGE [IMAGE...]",
		Short: "Copy images from one instance to another",
		Long: `Copy images from one instance to another. Both must be running. The
images go from engine to engine, without a file between them.`,
		Example:           `  docker rd cp-image default ci app:1 postgres:17`,
		Args:              takes(3, many),
		ValidArgsFunction: completing(a.cpImageWords),
		RunE: func(cmd *cobra.Command, args []string) error {
			if told := a.typedElsewhere(args[:2]...); told != "" {
				return foreign(told, "cp-image "+shellQuoteAll(args), args[0], args[1])
			}
			return a.inTime(cmd.Context(), o, func(ctx context.Context, t reporter) error {
				return cpImage(ctx, t, args[0], args[1], args[2:])
			})
		},
	}
	o.add(cmd, 0)
	return cmd
}

// cpImageWords completes two instances, then images of the first.
func (a *app) cpImageWords(args []string, word string) []string {
	if len(args) < 2 {
		return a.instanceWords(args, word)
	}
	return a.objectWords(objects.Images(), args[:1], args[2:])
}

func cpImage(ctx context.Context, t reporter, from, to string, images []string) error {
	if from == to {
		return failure.Refuse("images are to be copied from instance %q to itself", from)
	}
	if err := refuseContainerd(from, to, images); err != nil {
		return err
	}
	source, err := dialNamed(from)
	if err != nil {
		return err
	}
	defer source.Close()
	target, err := dialNamed(to)
	if err != nil {
		return err
	}
	defer target.Close()
	what := strings.Join(images, ", ")
	t = t.of(to, "cp-image")
	var copied atomic.Int64
	t.because(func() string { return units.HumanSize(float64(copied.Load())) }).doing(
		fmt.Sprintf("Copying %s from instance %q to %q", what, from, to), fmt.Sprintf("%s is not in instance %q", what, to))

	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	saved, err := source.ImageSave(ctx, images)
	if err != nil {
		return fmt.Errorf("copy %s from instance %q: %w", what, from, endpoint.WithoutURL(err))
	}
	defer saved.Close()
	loaded, err := target.ImageLoad(ctx, &counter{saved, &copied, cancel})
	if err == nil {
		err = jsonmessage.DisplayStream(loaded, io.Discard) // its status was already success
		_ = loaded.Close()
	}
	// The source knows better why it broke off.
	if cause := context.Cause(ctx); cause != nil {
		return fmt.Errorf("copy %s from instance %q: %w", what, from, cause)
	}
	if err != nil {
		return fmt.Errorf("copy %s to instance %q: %w", what, to, endpoint.WithoutURL(err))
	}
	t.did(fmt.Sprintf("%s copied from instance %q to %q (%s)", what, from, to, units.HumanSize(float64(copied.Load()))))
	return nil
}

// refuseContainerd refuses to copy from or to a containerd, whose own program does that.
func refuseContainerd(from, to string, images []string) error {
	containerd := ""
	program := func(name, docker, ctr string) string {
		// Whether such an instance exists is checked later.
		if i, err := loadNamed(name); err == nil && i.Settings.Engine == instance.KindContainerd {
			containerd, docker = name, ctr
		}
		return fmt.Sprintf("docker-rd run -i %s -- %s", name, docker)
	}
	save, load := program(from, "docker save", "ctr images export -"), program(to, "docker load", "ctr images import -")
	if containerd == "" {
		return nil
	}
	names := make([]string, len(images))
	for n, image := range images {
		names[n] = image
		if named, err := reference.ParseDockerRef(image); err == nil {
			names[n] = named.String() // ctr knows no shorter one
		}
	}
	return failure.WithHint(failure.Refuse("instance %q runs a containerd, which does not speak Docker's API", containerd),
		"the engines' own programs copy images: `%s %s | %s`", save, shellQuoteAll(names), load)
}

// dialNamed returns a client of a running instance's engine.
func dialNamed(name string) (*endpoint.Client, error) {
	i, err := loadNamed(name)
	if err != nil {
		return nil, err
	}
	if err := checkUsable(i, instance.Observe(i)); err != nil {
		return nil, err
	}
	ep, err := endpointOf(i)
	if err != nil {
		return nil, err
	}
	return ep.Client()
}

// A counter counts bytes that are read, and reports why reading broke off.
type counter struct {
	r     io.Reader
	n     *atomic.Int64
	broke context.CancelCauseFunc
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n.Add(int64(n))
	if err != nil && err != io.EOF {
		c.broke(err)
	}
	return n, err
}

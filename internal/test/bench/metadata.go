//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// smallest is the smallest plugin that can be made with docker's packages.
const smallest = `package main

import (
	"github.com/docker/cli/cli-plugins/metadata"
	"github.com/docker/cli/cli-plugins/plugin"
	"github.com/docker/cli/cli/command"
	"github.com/spf13/cobra"
)

func main() {
	plugin.Run(func(command.Cli) *cobra.Command { return &cobra.Command{Use: "smallest"} },
		metadata.Metadata{SchemaVersion: "0.1.0", Vendor: "docker rd", Version: "1"})
}
`

// metadata compares the call by which docker asks each plugin what it is, which costs every docker
// command that lists its plugins.
func (b *bench) metadata(ctx context.Context) error {
	h, err := b.newHome("m")
	if err != nil {
		return err
	}
	source, program := filepath.Join(h.dir, "smallest.go"), filepath.Join(h.dir, "docker-smallest")
	if err := os.WriteFile(source, []byte(smallest), 0o600); err != nil {
		return err
	}
	build := exec.CommandContext(ctx, "go", "build", "-tags", "grpcnotrace", "-trimpath", "-ldflags=-s -w", "-o", program, source)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build the smallest plugin: %w: %s", err, out)
	}
	const ask = "docker-cli-plugin-metadata"
	times, err := inTurns(16*b.rounds, // they are short
		func() (time.Duration, error) { return h.rd(ctx, ask) },
		func() (time.Duration, error) { return h.time(ctx, program, ask) })
	if err != nil {
		return err
	}
	b.table.ratio("metadata / the smallest plugin with docker's packages", times[0], times[1], 1.15)
	return nil
}

// Package deps keeps the modules in go.mod until the code that imports them is there.
package deps

import (
	_ "github.com/Microsoft/go-winio"
	_ "github.com/containerd/errdefs"
	_ "github.com/docker/cli/cli-plugins/plugin"
	_ "github.com/docker/cli/cli/context/store"
	_ "github.com/docker/go-units"
	_ "github.com/fsnotify/fsnotify"
	_ "github.com/gofrs/flock"
	_ "github.com/google/go-cmp/cmp"
	_ "github.com/moby/moby/client"
	_ "github.com/moby/sys/atomicwriter"
	_ "github.com/moby/term"
	_ "github.com/rogpeppe/go-internal/testscript"
	_ "github.com/santhosh-tekuri/jsonschema/v6"
	_ "github.com/spf13/cobra"
	_ "golang.org/x/sync/errgroup"
	_ "golang.org/x/sys/unix"
)

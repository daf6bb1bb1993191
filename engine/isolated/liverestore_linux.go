package isolated

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/moby/moby/client"

	"github.com/docker-rd/docker-rd/internal/pause"
	"github.com/docker-rd/docker-rd/internal/process"
)

// reloadTimeout is how long dockerd may take to reload its configuration.
const reloadTimeout = 5 * time.Second

// endLiveRestore switches live-restore off and waits until dockerd has reloaded that. Then dockerd
// stops its containers when it ends, each in its own time; otherwise they would have to be killed.
func (e *Engine) endLiveRestore(ctx context.Context) error {
	path := e.cfg.private(daemonJSON)
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var file map[string]json.RawMessage
	if err := json.Unmarshal(data, &file); err != nil {
		return fmt.Errorf("daemon configuration %q: %w", path, err)
	}
	if string(file[liveRestore]) != "true" {
		return nil
	}
	file[liveRestore] = json.RawMessage("false")
	if data, err = json.MarshalIndent(file, "", "  "); err != nil {
		return err
	}
	if err := os.WriteFile(path, data, 0o600); err != nil { // the next start writes it again
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, reloadTimeout)
	defer cancel()
	api, err := e.api()
	if err != nil {
		return err
	}
	defer api.Close()
	if err := e.ID().Signal(syscall.SIGHUP); err != nil {
		if errors.Is(err, process.ErrGone) {
			return nil // it has ended
		}
		return err
	}
	for {
		info, err := api.Info(ctx, client.InfoOptions{})
		if err != nil {
			return err
		}
		if !info.Info.LiveRestoreEnabled {
			return nil
		}
		if err := pause.For(ctx, 10*time.Millisecond); err != nil {
			return err
		}
	}
}

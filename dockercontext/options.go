package dockercontext

import (
	"context"

	"github.com/docker-rd/docker-rd/dockercontext/configfile"
)

// UpdateOptions sets options that config.json has for docker's features and CLI plugins, or takes
// them out: see [configfile.UpdateOptions].
func (c *Config) UpdateOptions(ctx context.Context, decide func(configfile.Options) []configfile.Option) (changed bool, err error) {
	_, err = c.locked(ctx, func(*tx) (Outcome, error) {
		changed, err = configfile.UpdateOptions(ctx, c.file(), decide)
		return Outcome{}, err
	})
	return changed, err
}

//go:build !linux

package mirror

import (
	"errors"
	"os"
	"time"
)

// Elsewhere each version is a new file.

func openSpare(*os.Root, string, time.Duration) (*os.File, error) { return nil, errors.ErrUnsupported }

func stamp(string, time.Time) error { return nil }

func exchange(_, _ string) error { return errors.ErrUnsupported }

//go:build !linux

package mirror

import (
	"errors"
	"os"
)

// Elsewhere each version is a new file.

func openSpare(*os.Root, string) (*os.File, error) { return nil, errors.ErrUnsupported }

func exchange(_, _ string) error { return errors.ErrUnsupported }

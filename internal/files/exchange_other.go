//go:build !linux && !darwin && !windows

package files

import "errors"

func exchange(string, string) error { return errors.ErrUnsupported }

func renameNew(string, string) error { return errors.ErrUnsupported }

//go:build !windows

package endpoint

import "fmt"

func pipeDialer(path string) (dialFunc, error) {
	return nil, fmt.Errorf("%w: named pipe %q: there are none on this system", ErrScheme, path)
}

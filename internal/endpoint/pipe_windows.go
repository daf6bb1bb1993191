package endpoint

import (
	"context"
	"net"

	"github.com/Microsoft/go-winio"
)

// pipeDialer returns a dialer for the named pipe at path.
func pipeDialer(path string) (dialFunc, error) {
	return func(ctx context.Context, _, _ string) (net.Conn, error) {
		return winio.DialPipeContext(ctx, path)
	}, nil
}

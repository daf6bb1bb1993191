//go:build !windows

package endpoint

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/docker-rd/docker-rd/internal/test/endpointtest"
)

// pingVar makes this test binary ping a host, for as long as the variable says, and end.
const pingVar = "ENDPOINT_TEST_PING"

func TestMain(m *testing.M) {
	endpointtest.Main()
	if timeout, err := time.ParseDuration(os.Getenv(pingVar)); err == nil {
		ctx, cancel := context.WithTimeout(context.Background(), timeout)
		defer cancel()
		_, _ = Endpoint{Host: os.Args[1]}.Ping(ctx)
		return
	}
	os.Exit(m.Run())
}

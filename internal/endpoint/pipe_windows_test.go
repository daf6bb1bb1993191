package endpoint

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/Microsoft/go-winio"

	"github.com/docker-rd/docker-rd/internal/test/endpointtest"
	"github.com/docker-rd/docker-rd/internal/test/wine"
)

func TestPipe(t *testing.T) {
	wine.Skip(t)
	name := fmt.Sprintf(`//./pipe/docker-rd-test-%d`, os.Getpid())
	e, err := FromURL("npipe://"+name, TLSOptions{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if _, err := e.Ping(ctx); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without a pipe: %v, want %v", err, os.ErrNotExist)
	}
	serve := func(name string, h http.Handler) {
		t.Helper()
		l, err := winio.ListenPipe(name, nil)
		if err != nil {
			t.Fatal(err)
		}
		endpointtest.Serve(t, l, h)
	}
	serve(name, endpointtest.Handler())
	if pong, err := e.Ping(ctx); err != nil || pong.APIVersion != endpointtest.APIVersion {
		t.Errorf("Ping = %+v, %v", pong, err)
	}
	serve(name+"-silent", endpointtest.Never)
	short, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := (Endpoint{Host: e.Host + "-silent"}).Ping(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("silent: %v, want deadline exceeded", err)
	}
}

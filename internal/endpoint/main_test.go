//go:build !windows

package endpoint

import (
	"os"
	"testing"

	"github.com/docker-rd/docker-rd/internal/enginetest"
)

func TestMain(m *testing.M) {
	enginetest.Main()
	os.Exit(m.Run())
}

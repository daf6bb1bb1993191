package plugin

import (
	"bytes"
	"log"
	"log/slog"
	"strings"
	"testing"
)

func TestQuietLibraries(t *testing.T) {
	var out bytes.Buffer
	before, writer, flags := slog.Default(), log.Writer(), log.Flags()
	quietLibraries(&out)
	t.Cleanup(func() {
		slog.SetDefault(before)
		log.SetOutput(writer)
		log.SetFlags(flags)
	})
	log.Print("Unsolicited response received on idle HTTP channel")
	slog.Info("nor this")
	if out.Len() > 0 {
		t.Errorf("printed: %q", out.String())
	}
	slog.Warn("a version of the configuration is kept")
	if !strings.Contains(out.String(), "is kept") {
		t.Errorf("a warning is lost: %q", out.String())
	}
}

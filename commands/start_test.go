package commands

import (
	"slices"
	"testing"

	"github.com/docker-rd/docker-rd/instance"
)

// The help tells of every setting that there is.
func TestSettingsHelp(t *testing.T) {
	var told []string
	for _, s := range settings {
		told = append(told, s.key)
	}
	keys := instance.SettingNames()
	slices.Sort(told)
	slices.Sort(keys)
	if !slices.Equal(told, keys) {
		t.Errorf("the help tells of %q, but there are %q", told, keys)
	}
}

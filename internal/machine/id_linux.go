package machine

import (
	"os"
	"strings"
)

// systemID returns the machine id (machine-id(5)), or "".
func systemID() string {
	for _, path := range []string{"/etc/machine-id", "/var/lib/dbus/machine-id"} {
		if data, err := os.ReadFile(path); err == nil {
			if id := strings.TrimSpace(string(data)); id != "" && id != "uninitialized" {
				return id
			}
		}
	}
	return ""
}

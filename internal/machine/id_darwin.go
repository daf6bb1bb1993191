package machine

import "golang.org/x/sys/unix"

// systemID returns the hardware UUID.
func systemID() string {
	id, err := unix.Sysctl("kern.uuid")
	if err != nil {
		return ""
	}
	return id
}

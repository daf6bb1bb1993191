package wine

import syscall "golang.org/x/sys/windows"

const windows = true

// Is reports whether this Windows is wine.
func Is() bool {
	return syscall.NewLazySystemDLL("ntdll.dll").NewProc("wine_get_version").Find() == nil
}

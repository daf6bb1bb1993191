// Package logfile opens logs that must not grow for ever.
package logfile

import "os"

// Max is the size from which a log is put aside when it is opened the next time, in bytes.
const Max = 10 << 20

// Open opens the log at path for appending and makes it where it is missing. One that has
// grown too large is put aside as path.1, in the place of the one before. The caller closes
// the file.
func Open(path string) (*os.File, error) {
	if info, err := os.Stat(path); err == nil && info.Size() >= Max {
		if err := os.Rename(path, path+".1"); err != nil {
			return nil, err
		}
	}
	return os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
}

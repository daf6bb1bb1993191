package lock

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/docker-rd/docker-rd/internal/files"
	"github.com/docker-rd/docker-rd/internal/process"
)

// A Holder describes the process that holds a lock.
type Holder struct {
	process.ID
	Command string    `json:"command"`
	Role    string    `json:"role,omitempty"` // as given to [TryAcquireAs]
	Since   time.Time `json:"since"`
}

// String describes the holder for an error message.
func (h Holder) String() string {
	if h.PID == 0 {
		return "another process"
	}
	return fmt.Sprintf("pid %d (%s) since %s", h.PID, h.Command, h.Since.Local().Format(time.DateTime))
}

// infoOffset is where the holder's description begins. Locks on Windows are mandatory and cover
// the first byte.
const infoOffset = 1

// held describes the holder of the locked file after a delay. Release releases the lock.
func (f lockFile) held(role string, after time.Duration) (release func()) {
	h := Holder{Role: role, Command: command(), Since: time.Now().UTC().Truncate(time.Second)}
	described := make(chan struct{})
	timer := time.AfterFunc(after, func() {
		f.describe(h)
		close(described)
	})
	if after == 0 {
		<-described
	}
	return func() {
		if !timer.Stop() {
			<-described
			_ = f.Truncate(0)
		}
		f.close()
	}
}

// describe writes the holder into the locked file. If that fails, as on a full disk, the lock
// still works; only messages do not name the holder.
func (f lockFile) describe(h Holder) {
	var err error
	if h.ID, err = process.Self(); err != nil {
		return
	}
	data, err := json.Marshal(h)
	if err != nil {
		return
	}
	if n, err := f.WriteAt(append(data, '\n'), infoOffset); err == nil {
		_ = f.Truncate(infoOffset + int64(n))
	}
}

// ReadHolder returns the holder of the lock at path, as it has described itself. The zero Holder
// without an error means that the lock is free or not described (yet): see [Held]. What a process
// has left that was killed does not describe the next holder, and its pid may be reused.
func ReadHolder(path string) (Holder, error) {
	file, err := files.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Holder{}, nil
	}
	if err != nil {
		return Holder{}, fmt.Errorf("lock: %w", err)
	}
	defer file.Close()
	data, err := io.ReadAll(io.NewSectionReader(file, infoOffset, 4096))
	if err != nil {
		return Holder{}, fmt.Errorf("lock %q: %w", path, err)
	}
	var h Holder
	if json.Unmarshal(data, &h) != nil {
		return Holder{}, nil // half written
	}
	find := process.FindChild // one that was killed holds its locks until its last thread has ended: it is a zombie by then
	if runtime.GOOS == "windows" {
		find = process.Find
	}
	if now, err := find(h.PID); err != nil || now != h.ID {
		return Holder{}, nil
	}
	return h, nil
}

// command returns the beginning of this process's command line.
func command() string {
	const limit = 3
	args := os.Args[:min(len(os.Args), limit)]
	line := filepath.Base(args[0])
	for _, a := range args[1:] {
		line += " " + a
	}
	return line
}

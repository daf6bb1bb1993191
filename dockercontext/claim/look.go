package claim

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"time"
)

// dialTimeout is how long a socket may take to accept a connection: if it takes longer, somebody
// listens.
const dialTimeout = time.Second

// A Look is the first of the two that prove that nobody listens at some paths.
type Look struct {
	at   time.Time
	seen map[string]look
}

// LookAt looks at paths.
func LookAt(paths []string) *Look {
	first := &Look{at: time.Now(), seen: map[string]look{}}
	for _, path := range paths {
		first.seen[path] = lookAt(path)
	}
	return first
}

// of returns what was at a path, and when. Where nobody has looked, or it could not be claimed
// then, it looks now.
func (l *Look) of(path string) (look, time.Time) {
	if l != nil {
		if seen, ok := l.seen[path]; ok && seen.free() {
			return seen, l.at
		}
	}
	return lookAt(path), time.Now()
}

// A look is the state of a path at one moment.
type look struct {
	info fs.FileInfo // nil if nothing was there
	err  error       // why it can't be claimed
}

func (l look) free() bool { return l.err == nil }

// same reports whether two looks saw the same, which could be claimed.
func (l look) same(other look) bool {
	if l.err != nil || other.err != nil {
		return false
	}
	if l.info == nil || other.info == nil {
		return l.info == nil && other.info == nil
	}
	return os.SameFile(l.info, other.info)
}

// lookAt looks at a path. Who has claimed it is looked at elsewhere.
func lookAt(path string) look {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return look{}
	case err != nil:
		return look{err: err}
	}
	switch target, err := os.Stat(path); {
	case errors.Is(err, fs.ErrNotExist): // a link to nothing
		return look{info: info}
	case err != nil:
		return look{info: info, err: err}
	case target.Mode()&fs.ModeSocket == 0:
		return look{info: info, err: fmt.Errorf("%w: it is not a socket", ErrInUse)}
	}
	switch err := dial(path); {
	case err == nil:
		return look{info: info, err: ErrInUse}
	case nobodyListens(err):
		return look{info: info}
	case errors.Is(err, fs.ErrPermission):
		return look{info: info, err: err}
	default:
		return look{info: info, err: fmt.Errorf("%w: %w", ErrInUse, err)}
	}
}

// answers reports whether somebody may listen at path.
func answers(path string) bool {
	err := dial(path)
	return err == nil || !nobodyListens(err)
}

func dial(path string) error {
	conn, err := net.DialTimeout("unix", path, dialTimeout)
	if err == nil {
		_ = conn.Close()
	}
	return err
}

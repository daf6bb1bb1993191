package isolated

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/docker-rd/docker-rd/internal/failure"
	"github.com/docker-rd/docker-rd/internal/programs"
)

// find returns the path of one of the engine's own programs.
func (c *Config) find(name string) (string, error) {
	if c.Settings.EnginePath == "" {
		return programs.Find(name)
	}
	return filepath.Join(c.Settings.EnginePath, name), nil
}

// searchPath is the engine's PATH. Whatever it runs it finds among its own programs first, such as
// docker-init, which not every engine needs.
func (c *Config) searchPath() string {
	if c.Settings.EnginePath == "" {
		return programs.SearchPath()
	}
	return c.Settings.EnginePath + ":" + programs.SearchPath()
}

// checkPrograms refuses a directory in which not all of the engine's own programs are, or not for
// this machine: with the system's in their place it would be another engine than it seems.
func checkPrograms(c *Config) error {
	dir := c.Settings.EnginePath
	if dir == "" {
		return nil
	}
	if strings.Contains(dir, ":") {
		return failure.WithHint(failure.Refuse("engine-path %q: a colon ends a directory in PATH", dir), "give the directory another name, or a link")
	}
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		if err == nil {
			err = syscall.ENOTDIR
		}
		return failure.WithHint(failure.Refuse("engine-path %q: %w", dir, bare(err)), "unpack a static release of Docker there")
	}
	var missing, closed, foreign []string
	for _, tool := range slices.Concat(c.program().tools, own) {
		path := filepath.Join(dir, tool.name)
		switch fits, err := isProgram(path); {
		case errors.Is(err, os.ErrNotExist):
			missing = append(missing, tool.name)
		case err != nil:
			return failure.Refuse("engine-path %q: %s: %w", dir, tool.name, bare(err))
		case unix.Access(path, unix.X_OK) != nil:
			closed = append(closed, tool.name)
		case !fits:
			foreign = append(foreign, tool.name)
		}
	}
	var problems []error
	if len(missing) > 0 {
		problems = append(problems, failure.WithHint(failure.Refuse("engine-path %q: missing: %s", dir, strings.Join(missing, ", ")),
			"unpack a whole static release of Docker there, or add links to the system's programs"))
	}
	if len(closed) > 0 {
		problems = append(problems, failure.WithHint(failure.Refuse("engine-path %q: not executable: %s", dir, strings.Join(closed, ", ")),
			"`chmod a+x %s`", filepath.Join(dir, strings.Join(closed, " "+dir+"/"))))
	}
	if len(foreign) > 0 {
		problems = append(problems, failure.WithHint(failure.Refuse("engine-path %q: not programs of this machine's architecture: %s", dir, strings.Join(foreign, ", ")),
			"`uname -m` names the one that is needed"))
	}
	return failure.Join(problems)
}

// bare is an error without the path, which is said already.
func bare(err error) error {
	if e, ok := errors.AsType[*os.PathError](err); ok {
		return e.Err
	}
	return err
}

// isProgram reports whether a file is one that this machine can run: a script, or of the
// architecture of this program.
func isProgram(path string) (bool, error) {
	head, err := readHead(path)
	if err != nil {
		return false, err
	}
	if bytes.HasPrefix(head, []byte("#!")) {
		return true, nil
	}
	self, err := readHead("/proc/self/exe")
	if err != nil {
		return false, err
	}
	// Of an ELF header: the magic, the class and the byte order, and the machine.
	const magic, machine = 6, 18
	return len(head) == headSize && bytes.Equal(head[:magic], self[:magic]) && bytes.Equal(head[machine:], self[machine:]), nil
}

const headSize = 20

// readHead returns the first bytes of a file, headSize at most.
func readHead(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("no regular file")
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	head := make([]byte, headSize)
	n, err := io.ReadFull(file, head)
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		err = nil
	}
	return head[:n], err
}

// Package programs finds the programs that an engine needs.
package programs

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// SearchPath is PATH with the directories of root's programs. They are not in an ordinary user's
// PATH, which sudo may keep.
func SearchPath() string {
	path := os.Getenv("PATH")
	for _, dir := range []string{"/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"} {
		if !strings.Contains(":"+path+":", ":"+dir+":") {
			path = strings.TrimPrefix(path+":"+dir, ":")
		}
	}
	return path
}

// Self returns the path of the program that this process runs, with links resolved: those in
// docker's plugin directories and on the PATH.
func Self() (string, error) {
	exe, err := os.Executable()
	if err != nil {
		return "", err
	}
	return filepath.EvalSymlinks(exe)
}

// Find returns the path of a program in [SearchPath]. A missing program is an error that matches
// [exec.ErrNotFound].
func Find(name string) (string, error) {
	for _, dir := range filepath.SplitList(SearchPath()) {
		if !filepath.IsAbs(dir) {
			continue
		}
		path := filepath.Join(dir, name)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return path, nil
		}
	}
	return "", fmt.Errorf("%s: %w", name, exec.ErrNotFound)
}

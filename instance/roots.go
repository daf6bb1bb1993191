package instance

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"runtime"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/docker-rd/docker-rd/internal/failure"
	"github.com/docker-rd/docker-rd/internal/files"
	"github.com/docker-rd/docker-rd/internal/session"
)

// HomeEnv names the environment variable that moves all roots together.
const HomeEnv = "DOCKER_RD_HOME"

// Roots are the directories for the files of all instances. An instance's paths are made from them
// once, when it is created.
type Roots struct {
	State   string // settings, state, locks, logs: must last
	Data    string // images, volumes: large
	Runtime string // sockets only: may vanish at logout; "" where there is no place for them
}

func noHome(err error) error {
	return failure.WithHint(fmt.Errorf("no place for the state: %w", err), "set HOME or %s", HomeEnv)
}

// DefaultRoots returns the roots for this user: those under $DOCKER_RD_HOME, or the
// XDG base directories (https://specifications.freedesktop.org/basedir-spec/), on
// Windows below %LocalAppData%. No directory is made.
func DefaultRoots() (Roots, error) {
	if home := os.Getenv(HomeEnv); home != "" {
		if !filepath.IsAbs(home) {
			return Roots{}, failure.Refuse("%s is not an absolute path: %q", HomeEnv, home)
		}
		return Roots{
			State:   filepath.Join(home, "state"),
			Data:    filepath.Join(home, "data"),
			Runtime: filepath.Join(home, "run"),
		}, nil
	}
	if runtime.GOOS == "windows" {
		local, err := os.UserCacheDir() // %LocalAppData%
		if err != nil {
			return Roots{}, noHome(err)
		}
		base := filepath.Join(local, "docker-rd")
		return Roots{filepath.Join(base, "state"), filepath.Join(base, "data"), filepath.Join(base, "run")}, nil
	}
	home, err := homeDir()
	if err != nil {
		return Roots{}, noHome(err)
	}
	state := xdg("XDG_STATE_HOME", stateBase(home))
	return Roots{
		State:   state,
		Data:    xdg("XDG_DATA_HOME", filepath.Join(home, ".local", "share")),
		Runtime: runtimeRoot(runtime.GOOS, state),
	}, nil
}

// stateBase is XDG_STATE_HOME's default.
func stateBase(home string) string { return filepath.Join(home, ".local", "state") }

// foreign reports whether a directory is a user's although this is root.
func foreign(dir string) bool {
	_, _, other := files.OtherOwner(dir)
	return other
}

// homeDir returns the user's home directory: $HOME or, like docker, that of the user database. A
// service may have no HOME. Root may have a user's (sudo -E), who could not use what root makes
// there.
func homeDir() (string, error) {
	home := os.Getenv("HOME")
	if home == "" || foreign(home) {
		u, err := user.Current()
		if err != nil {
			return "", fmt.Errorf("no home directory is known: %w", err)
		}
		home = u.HomeDir
	}
	if !filepath.IsAbs(home) {
		return "", failure.Refuse("the home directory %q is not an absolute path", home)
	}
	return home, nil
}

// xdg returns our directory in a base directory. By the specification relative values are
// ignored, and for root those of other users, too.
func xdg(env, fallback string) string {
	base := os.Getenv(env)
	if !filepath.IsAbs(base) || foreign(base) {
		base = fallback
	}
	return filepath.Join(base, "docker-rd")
}

// runtimeRoot returns the directory for the sockets of the instances whose state is below
// the directory state: one below XDG_RUNTIME_DIR or, where there is no login session, a
// fallback, "" where there is none. Root's engines outlive its login sessions, so their sockets
// must too.
func runtimeRoot(system, state string) string {
	uid := os.Geteuid()
	root := uid == 0 && system == "linux"
	base := session.RuntimeDir()
	switch {
	case base != "" && !foreign(base) && !(root && strings.HasPrefix(filepath.Clean(base)+"/", session.RuntimeDirs+"/")):
		return filepath.Join(base, "docker-rd")
	case system != "linux": // not a temporary directory: macOS removes what was not used there for three days
		return filepath.Join(state, "run")
	case !root:
		return ""
	}
	dir := "/run/docker-rd"
	// Instances with another home may have the same names.
	if u, err := user.Current(); err == nil && state != filepath.Join(stateBase(u.HomeDir), "docker-rd") {
		sum := sha256.Sum256([]byte(state))
		dir += "-" + hex.EncodeToString(sum[:4])
	}
	return dir
}

// Check refuses to make an instance under a Docker configuration that is a file, where there is no
// directory for its sockets, or where a path fits into no JSON or no URL. Existing instances have
// their own paths.
func (r Roots) Check(dockerConfig string) error {
	for _, dir := range []string{r.State, r.Data, r.Runtime, dockerConfig} {
		if !utf8.ValidString(dir) || strings.ContainsFunc(dir, unicode.IsControl) {
			return failure.WithHint(failure.Refuse("directory %q: a path with a control character, or that is not UTF-8, can't be used", dir),
				"set %s and DOCKER_CONFIG to directories without them", HomeEnv)
		}
	}
	if info, err := os.Stat(dockerConfig); err == nil && !info.IsDir() {
		return failure.WithHint(failure.Refuse("docker configuration %q is not a directory", dockerConfig),
			"set DOCKER_CONFIG to the directory, such as %s", filepath.Dir(dockerConfig))
	}
	if r.Runtime != "" {
		return nil
	}
	uid := os.Geteuid()
	return failure.WithHint(failure.Refuse("no directory for sockets: XDG_RUNTIME_DIR is not set, and there is no %s/%d with mode 0700", session.RuntimeDirs, uid),
		"log in by ssh or a console rather than by su, or have the directory made by `sudo loginctl enable-linger %d`; without systemd: `export XDG_RUNTIME_DIR=$HOME/.local/run && mkdir -p -m 0700 $XDG_RUNTIME_DIR`", uid)
}

// CheckRuntime refuses a directory for sockets that another user has made, where everybody can: that
// user could put others in place of the sockets. Root may have chosen a user's.
func (i *Instance) CheckRuntime() error {
	dir := filepath.Dir(i.Paths.Runtime)
	if os.Geteuid() == 0 || !files.IsOthers(dir) {
		return nil
	}
	return failure.WithHint(failure.Refuse("directory %q, for sockets, belongs to another user", dir),
		"set XDG_RUNTIME_DIR or %s to a directory of your own, and make the instance there", HomeEnv)
}

func (r Roots) instanceDir(name string) string { return filepath.Join(r.State, "instances", name) }

// PromotionDir returns the directory of the promotion records and their locks, one for each Docker
// configuration directory.
func (r Roots) PromotionDir() string { return filepath.Join(r.State, "promotion") }

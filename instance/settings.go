package instance

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/docker-rd/docker-rd/dockercontext"
	"github.com/docker-rd/docker-rd/internal/endpoint"
	"github.com/docker-rd/docker-rd/internal/failure"
	"github.com/docker-rd/docker-rd/internal/nearest"
	"github.com/docker-rd/docker-rd/mirror/state"
)

// Drivers, the ways in which an engine can be run.
const (
	DriverAuto     = "auto"     // chosen for the user and the system at creation
	DriverDockerd  = "dockerd"  // our own dockerd: Linux, root
	DriverRootless = "rootless" // our own dockerd: Linux, an ordinary user
	DriverExisting = "existing" // an engine that exists already, by URL or context
	DriverLima     = "lima"     // a dockerd in a virtual machine: macOS and Linux, an ordinary user
)

// Kinds of engines.
const (
	KindMoby       = state.KindMoby
	KindContainerd = state.KindContainerd // an own one, without Docker's API
)

// Limits and defaults of settings.
const (
	defaultResync = 5 * time.Minute
	minResync     = time.Second
)

var (
	drivers  = []string{DriverAuto, DriverDockerd, DriverRootless, DriverExisting, DriverLima}
	kinds    = []string{KindMoby, KindContainerd}
	policies = []string{string(dockercontext.PromoteIfBroken), string(dockercontext.PromoteAlways), string(dockercontext.PromoteNever)}
)

// Settings say how an instance is run.
type Settings struct {
	Driver       string               `json:"driver"`
	Engine       string               `json:"engine"`
	Host         string               `json:"host,omitempty"`         // existing: the engine's URL
	FromContext  string               `json:"fromContext,omitempty"`  // existing: the user's context
	TLSCACert    string               `json:"tlsCACert,omitempty"`    // existing with Host: absolute paths of PEM files
	TLSCert      string               `json:"tlsCert,omitempty"`      //
	TLSKey       string               `json:"tlsKey,omitempty"`       //
	TLSVerify    *bool                `json:"tlsVerify,omitempty"`    // existing with Host: TLS, with or without verification; nil: as the PEM files say
	Promote      dockercontext.Policy `json:"promote"`                // when a start may make the context the current one
	DaemonConfig string               `json:"daemonConfig,omitempty"` // dockerd: absolute path of a daemon.json
	EnginePath   string               `json:"enginePath,omitempty"`   // dockerd: absolute path of the directory of its programs; "": the system's
	EngineArgs   []string             `json:"engineArgs,omitempty"`   // dockerd: further arguments
	Localhost    []uint16             `json:"localhost,omitempty"`    // dockerd: ports of the host's loopback that the engine reaches
	Memory       int64                `json:"memory,omitempty"`       // dockerd: limit of the whole instance, in bytes; 0: none. lima: the machine's; 0: Lima's default
	NanoCPUs     int64                `json:"nanoCPUs,omitempty"`     // dockerd: limit of the whole instance, in billionths; 0: none. lima: the machine's, whole ones; 0: Lima's default
	PidsLimit    int64                `json:"pidsLimit,omitempty"`    // dockerd: limit of all containers together; 0: none
	Disk         int64                `json:"disk,omitempty"`         // lima: the machine's, in bytes; 0: Lima's default
	Template     string               `json:"template,omitempty"`     // lima: what the machine is made from: an absolute path, or a name as "template:docker"; "": the driver's choice
	Resync       Duration             `json:"resync"`                 // the mirror's full sync
	Autostart    bool                 `json:"autostart,omitempty"`    // systemd starts it with the system

	// Given are the names of the settings that the user has set, sorted; the others are defaults.
	Given []string `json:"given,omitempty"`
}

// Duration is a time.Duration that is written as Go writes it ("5m0s").
type Duration time.Duration

// MarshalText implements [encoding.TextMarshaler].
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	*d = Duration(v)
	return err
}

// DefaultSettings returns the settings of a new instance.
func DefaultSettings() Settings {
	return Settings{Driver: DriverAuto, Engine: KindMoby, Promote: dockercontext.PromoteIfBroken, Resync: Duration(defaultResync)}
}

// Adopts reports whether the engine is somebody else's.
func (s Settings) Adopts() bool { return s.Driver == DriverExisting }

// Equal reports whether both are the same settings.
func (s Settings) Equal(o Settings) bool { return reflect.DeepEqual(s.normal(), o.normal()) }

// normal makes nil and empty lists equal, and drops Given.
func (s Settings) normal() Settings {
	s.Given = nil
	if len(s.EngineArgs) == 0 {
		s.EngineArgs = nil
	}
	if len(s.Localhost) == 0 {
		s.Localhost = nil
	}
	return s
}

// Resolved returns the settings with the driver chosen and all paths absolute, or a refusal that
// names the setting and its values. It looks at the system, but not at files or engines.
func (s Settings) Resolved() (Settings, error) {
	for _, k := range settings {
		if v := k.get(&s); k.values != nil && v != "" && !slices.Contains(k.values, v) {
			return s, failure.WithHint(failure.Refuse("%s %q is not one that this version has", k.name, v),
				"%s", nearest.DidYouMean(nearest.To(v, k.values), "", k.name+" can be "+strings.Join(k.values, ", ")))
		}
	}
	if time.Duration(s.Resync) < minResync {
		return s, failure.Refuse("resync %s is shorter than %s", time.Duration(s.Resync), minResync)
	}
	if s.Driver == DriverAuto {
		driver, err := s.chooseDriver()
		if err != nil {
			return s, err
		}
		s.Driver = driver
	}
	for _, p := range []*string{&s.TLSCACert, &s.TLSCert, &s.TLSKey, &s.DaemonConfig, &s.EnginePath, &s.Template} {
		if *p == "" || p == &s.Template && strings.Contains(*p, ":") { // a name or a URL
			continue
		}
		abs, err := filepath.Abs(*p)
		if err != nil {
			return s, fmt.Errorf("path %q: %w", *p, err)
		}
		*p = abs
	}
	return s, s.checkDriverSettings()
}

// chooseDriver returns the driver for "auto".
func (s Settings) chooseDriver() (string, error) {
	switch {
	case s.Host != "" || s.FromContext != "":
		return DriverExisting, nil
	case runtime.GOOS == "darwin":
		return DriverLima, nil
	case runtime.GOOS != "linux":
		return "", failure.Refuse("%w on %s", ErrNoDriver, runtime.GOOS)
	case os.Geteuid() != 0:
		return DriverRootless, nil
	}
	return DriverDockerd, nil
}

// checkDriverSettings refuses settings that have no effect with the driver, or contradict others.
func (s Settings) checkDriverSettings() error {
	switch {
	case s.Engine != KindContainerd:
	case s.Driver == DriverExisting:
		return failure.Refuse("driver %q adopts engines of kind %q only", s.Driver, KindMoby)
	case s.DaemonConfig != "":
		return failure.Refuse("engine %q takes no daemon-config: that is dockerd's", s.Engine)
	}
	for _, k := range settings {
		if k.drivers != nil && !slices.Contains(k.drivers, s.Driver) && k.get(&s) != "" {
			return failure.WithHint(failure.Refuse("driver %q takes no %s", s.Driver, k.name),
				"leave it out: it is for driver \"%s\"", strings.Join(k.drivers, `", "`))
		}
	}
	switch s.Driver {
	case DriverLima:
		return s.checkLima()
	case DriverExisting:
		switch {
		case s.Host == "" && s.FromContext == "":
			return failure.Refuse("driver %q %w", s.Driver, ErrNoEngine)
		case s.Host != "" && s.FromContext != "":
			return failure.Refuse("host %q and from-context %q %w", endpoint.Endpoint{Host: s.Host}.Shown(), s.FromContext, ErrTwoEngines)
		case s.FromContext != "" && s.HasTLS():
			return failure.Refuse("TLS settings go with host: context %q has its own", s.FromContext)
		case s.Host != "":
			_, err := endpoint.FromURL(s.Host, s.TLSOptions())
			return err
		}
	}
	return nil
}

// checkLima refuses what no virtual machine can be.
func (s Settings) checkLima() error {
	const whole = 1e9
	switch {
	case runtime.GOOS == "windows":
		return failure.Refuse("driver %q: %w on %s", s.Driver, ErrNoDriver, runtime.GOOS)
	case s.Engine != KindMoby:
		return failure.Refuse("driver %q runs engines of kind %q only", s.Driver, KindMoby)
	case s.NanoCPUs%whole != 0:
		return failure.Refuse("driver %q: a virtual machine has whole processors, not %s", s.Driver, s.Get("cpus"))
	}
	return nil
}

// HasTLS reports whether there are TLS settings, which belong to Host.
func (s Settings) HasTLS() bool { return s.TLSOptions() != endpoint.TLSOptions{} }

// TLSOptions returns the TLS settings for [Settings.Host].
func (s Settings) TLSOptions() endpoint.TLSOptions {
	return endpoint.TLSOptions{
		Enabled:    s.TLSVerify != nil,
		SkipVerify: s.TLSVerify != nil && !*s.TLSVerify,
		CAFile:     s.TLSCACert,
		CertFile:   s.TLSCert,
		KeyFile:    s.TLSKey,
	}
}

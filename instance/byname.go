package instance

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/shlex"

	"github.com/docker-rd/docker-rd/internal/failure"
	"github.com/docker-rd/docker-rd/internal/nearest"
)

// Sources of values, see [Settings.Source].
const (
	sourceGiven   = "set"     // by the user
	sourceDefault = "default" // of every instance
	sourceChosen  = "chosen"  // for the user and the system, when the instance was made
)

// A setting is one of Settings as people name it. Setting "" brings the default back.
type setting struct {
	name   string
	get    func(*Settings) string
	set    func(*Settings, string) error
	values []string // all possible ones; nil if there is no such list

	drivers []string // those with which it has an effect; nil for all
	live    []string // those with which it holds at once, without a restart
}

// Drivers, as those of a setting.
var (
	adopting = []string{DriverExisting}
	isolated = []string{DriverDockerd, DriverRootless} // in namespaces
	virtual  = []string{DriverLima}
	own      = slices.Concat(isolated, virtual)
)

var settings = slices.Concat(mainSettings, limits, []setting{resync})

var mainSettings = []setting{
	text("driver", func(s *Settings) *string { return &s.Driver }, drivers),
	text("engine", func(s *Settings) *string { return &s.Engine }, kinds),
	text("promote", func(s *Settings) *string { return (*string)(&s.Promote) }, policies),
	text("host", func(s *Settings) *string { return &s.Host }, nil).of(adopting),
	text("from-context", func(s *Settings) *string { return &s.FromContext }, nil).of(adopting),
	text("tlscacert", func(s *Settings) *string { return &s.TLSCACert }, nil).of(adopting),
	text("tlscert", func(s *Settings) *string { return &s.TLSCert }, nil).of(adopting),
	text("tlskey", func(s *Settings) *string { return &s.TLSKey }, nil).of(adopting),
	{
		name:    "tlsverify",
		drivers: adopting,
		get: func(s *Settings) string {
			if s.TLSVerify == nil {
				return ""
			}
			return strconv.FormatBool(*s.TLSVerify)
		},
		set: func(s *Settings, v string) error {
			s.TLSVerify = nil
			if v == "" {
				return nil
			}
			b, err := parseBool(v)
			s.TLSVerify = &b
			return err
		},
		values: []string{"true", "false"},
	},
	text("daemon-config", func(s *Settings) *string { return &s.DaemonConfig }, nil).of(isolated),
	text("engine-path", func(s *Settings) *string { return &s.EnginePath }, nil).of(isolated),
	{
		name:    "engine-args",
		drivers: isolated,
		get:     func(s *Settings) string { return joinArgs(s.EngineArgs) },
		set: func(s *Settings, v string) (err error) {
			s.EngineArgs, err = shlex.Split(v)
			return err
		},
	},
	{
		name:    "localhost",
		drivers: isolated,
		get: func(s *Settings) string {
			ports := make([]string, len(s.Localhost))
			for i, port := range s.Localhost {
				ports[i] = strconv.Itoa(int(port))
			}
			return strings.Join(ports, ",")
		},
		set: func(s *Settings, v string) error {
			s.Localhost = nil
			for field := range strings.FieldsFuncSeq(v, func(r rune) bool { return r == ',' || r == ' ' }) {
				port, err := strconv.ParseUint(field, 10, 16)
				if err != nil || port == 0 {
					return fmt.Errorf("%q is no port: numbers from 1 to 65535 are, with commas between them", field)
				}
				if !slices.Contains(s.Localhost, uint16(port)) {
					s.Localhost = append(s.Localhost, uint16(port))
				}
			}
			return nil
		},
	},
	{
		name:    "disk",
		drivers: virtual,
		get:     func(s *Settings) string { return formatSize(s.Disk) },
		set:     func(s *Settings, v string) (err error) { s.Disk, err = parseSize(v); return err },
	},
	text("template", func(s *Settings) *string { return &s.Template }, nil).of(virtual),
	{
		name:   "autostart",
		live:   drivers,
		get:    func(s *Settings) string { return strconv.FormatBool(s.Autostart) },
		set:    func(s *Settings, v string) (err error) { s.Autostart, err = parseBool(v); return err },
		values: []string{"true", "false"},
	},
}

func parseBool(v string) (bool, error) {
	b, err := strconv.ParseBool(v)
	if err != nil {
		err = errors.New("it can be true or false")
	}
	return b, err
}

var resync = setting{
	name: "resync",
	get:  func(s *Settings) string { return time.Duration(s.Resync).String() },
	set: func(s *Settings, v string) error {
		if s.Resync.UnmarshalText([]byte(v)) != nil {
			return errors.New("not a time such as 30s or 5m")
		}
		return nil
	},
}

func text(name string, field func(*Settings) *string, values []string) setting {
	return setting{
		name:   name,
		get:    func(s *Settings) string { return *field(s) },
		set:    func(s *Settings, v string) error { *field(s) = v; return nil },
		values: values,
	}
}

func (k setting) of(drivers []string) setting {
	k.drivers = drivers
	return k
}

// joinArgs is the inverse of shlex.Split.
func joinArgs(args []string) string {
	quoted := make([]string, len(args))
	for i, a := range args {
		if a == "" || strings.ContainsAny(a, " \t\r\n'\"\\#") {
			a = "'" + strings.ReplaceAll(a, "'", `'"'"'`) + "'"
		}
		quoted[i] = a
	}
	return strings.Join(quoted, " ")
}

func findSetting(name string) (setting, bool) {
	for _, k := range settings {
		if k.name == name {
			return k, true
		}
	}
	return setting{}, false
}

// SettingNames returns the names of all settings.
func SettingNames() []string {
	names := make([]string, len(settings))
	for i, k := range settings {
		names[i] = k.name
	}
	return names
}

// SettingValues returns the possible values of a setting, nil if there is no such list.
func SettingValues(name string) []string {
	k, _ := findSetting(name)
	return k.values
}

// Get returns a setting as text for [Settings.Set]; "" if it is not set or unknown.
func (s Settings) Get(name string) string {
	if k, ok := findSetting(name); ok {
		return k.get(&s)
	}
	return ""
}

// Set changes one setting; an empty value sets the default. [Settings.Resolved] checks whether
// all settings fit together.
func (s *Settings) Set(name, value string) error {
	k, ok := findSetting(name)
	if !ok {
		return failure.WithHint(failure.Refuse("unknown setting %q", name),
			"%s", nearest.DidYouMean(nearest.To(name, SettingNames()), "", "settings are "+strings.Join(SettingNames(), ", ")))
	}
	given := slices.DeleteFunc(slices.Clone(s.Given), func(key string) bool { return key == name })
	if value == "" {
		value = DefaultSettings().Get(name)
	} else {
		given = append(given, name)
		slices.Sort(given)
	}
	if err := k.set(s, value); err != nil {
		return failure.Refuse("setting %s=%q: %w", name, value, err)
	}
	s.Given = given
	return nil
}

// SetArgs sets the engine's arguments.
func (s *Settings) SetArgs(args []string) error { return s.Set("engine-args", joinArgs(args)) }

// Source returns the source of a setting's value.
func (s Settings) Source(name string) string {
	switch {
	case slices.Contains(s.Given, name):
		return sourceGiven
	case s.Get(name) == DefaultSettings().Get(name):
		return sourceDefault
	}
	return sourceChosen
}

// Changed returns the settings that the user has set, as KEY=VALUE.
func (s Settings) Changed() []string {
	var changed []string
	for _, k := range settings {
		if s.Source(k.name) == sourceGiven {
			changed = append(changed, k.name+"="+k.get(&s))
		}
	}
	return changed
}

// TakeLive takes over from other the settings that hold at once.
func (s *Settings) TakeLive(other Settings) {
	s.Given = slices.Clone(s.Given)
	for _, k := range settings {
		if !slices.Contains(k.live, s.Driver) {
			continue
		}
		_ = k.set(s, k.get(&other)) // what it returns is what it takes
		s.Given = slices.DeleteFunc(s.Given, func(key string) bool { return key == k.name })
		if slices.Contains(other.Given, k.name) {
			s.Given = append(s.Given, k.name)
		}
	}
	slices.Sort(s.Given)
}

// Diff returns the settings in which other differs, as KEY=VALUE.
func (s Settings) Diff(other Settings) []string {
	var diff []string
	for _, k := range settings {
		if was, is := k.get(&s), k.get(&other); was != is {
			diff = append(diff, fmt.Sprintf("%s=%s", k.name, is))
		}
	}
	return diff
}

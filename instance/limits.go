package instance

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"strconv"

	"github.com/docker/go-units"
)

// The least that an engine itself needs, and that the kernel counts.
const (
	minMemory   = 128 << 20
	minNanoCPUs = 1e7 // docker's
)

// limits are the limits of a whole instance, as docker run has them for a container. A virtual machine
// that runs keeps its size.
var limits = []setting{
	{
		name:    "memory",
		drivers: own,
		live:    isolated,
		get:     func(s *Settings) string { return formatSize(s.Memory) },
		set: func(s *Settings, v string) (err error) {
			if s.Memory, err = parseSize(v); err != nil {
				return err
			}
			if s.Memory != 0 && s.Memory < minMemory {
				return fmt.Errorf("less than %s, the least for an instance", formatSize(minMemory))
			}
			return nil
		},
	},
	{
		name:    "cpus",
		drivers: own,
		live:    isolated,
		get: func(s *Settings) string {
			if s.NanoCPUs == 0 {
				return ""
			}
			return strconv.FormatFloat(float64(s.NanoCPUs)/1e9, 'f', -1, 64)
		},
		set: func(s *Settings, v string) error {
			if s.NanoCPUs = 0; v == "" {
				return nil
			}
			cpus, ok := new(big.Rat).SetString(v)
			if !ok {
				return errors.New("not a number of processors such as 2 or 1.5")
			}
			nano := cpus.Mul(cpus, big.NewRat(1e9, 1))
			if !nano.IsInt() || !nano.Num().IsInt64() {
				return errors.New("a number of processors with nine decimals at most is needed")
			}
			s.NanoCPUs = nano.Num().Int64()
			if s.NanoCPUs != 0 && s.NanoCPUs < minNanoCPUs {
				return errors.New("less than 0.01 processors")
			}
			return nil
		},
	},
	{
		name:    "pids-limit",
		drivers: isolated,
		live:    isolated,
		get: func(s *Settings) string {
			if s.PidsLimit == 0 {
				return ""
			}
			return strconv.FormatInt(s.PidsLimit, 10)
		},
		set: func(s *Settings, v string) (err error) {
			if s.PidsLimit = 0; v == "" {
				return nil
			}
			if s.PidsLimit, err = strconv.ParseInt(v, 10, 64); err != nil || s.PidsLimit < -1 {
				return errors.New("not a number of processes, or -1 for no limit")
			}
			s.PidsLimit = max(s.PidsLimit, 0)
			return nil
		},
	},
}

// parseSize returns a size in bytes; "" is 0.
func parseSize(text string) (int64, error) {
	if text == "" {
		return 0, nil
	}
	size, err := units.RAMInBytes(text)
	if err != nil {
		return 0, errors.New("not a size such as 512m or 2g")
	}
	if size < 0 || size == math.MaxInt64 { // by its conversion, which depends on the processor
		return 0, errors.New("more bytes than can be counted")
	}
	return size, nil
}

// formatSize is the inverse of [parseSize].
func formatSize(bytes int64) string {
	if bytes == 0 {
		return ""
	}
	for _, unit := range []struct {
		suffix string
		size   int64
	}{{"g", units.GiB}, {"m", units.MiB}, {"k", units.KiB}} {
		if bytes%unit.size == 0 {
			return strconv.FormatInt(bytes/unit.size, 10) + unit.suffix
		}
	}
	return strconv.FormatInt(bytes, 10)
}

package instance

import "path/filepath"

// Paths are the places of an instance. The directories are stored when the instance is created;
// the files have fixed places in them.
type Paths struct {
	State   string `json:"state"`   // settings, state, locks, logs
	Data    string `json:"data"`    // the engine's data root
	Runtime string `json:"runtime"` // sockets, and what each start of the engine makes
}

func newPaths(r Roots, name string) Paths {
	return Paths{
		State:   r.instanceDir(name),
		Data:    filepath.Join(r.Data, name),
		Runtime: filepath.Join(r.Runtime, name),
	}
}

// InstanceFile returns the path of instance.json.
func (p Paths) InstanceFile() string { return filepath.Join(p.State, "instance.json") }

// InstanceBackup returns the path of the copy of instance.json, for when that is damaged.
func (p Paths) InstanceBackup() string { return filepath.Join(p.State, "instance.json.bak") }

// StateFile returns the path of state.json, the mirror.
func (p Paths) StateFile() string { return filepath.Join(p.State, "state.json") }

// RequestsDir returns the directory of requests.
func (p Paths) RequestsDir() string { return filepath.Join(p.State, "requests") }

// SupervisorLock returns the lock that the supervisor holds for life.
func (p Paths) SupervisorLock() string { return filepath.Join(p.State, "supervisor.lock") }

// StateLock returns the lock for writes of the state and the settings.
func (p Paths) StateLock() string { return filepath.Join(p.State, "state.lock") }

// StartLock returns the lock that waiting starts share.
func (p Paths) StartLock() string { return filepath.Join(p.State, "start.lock") }

// LogDir returns the directory of the logs.
func (p Paths) LogDir() string { return filepath.Join(p.State, "log") }

// EngineLog returns the path of the engine's log.
func (p Paths) EngineLog() string { return filepath.Join(p.LogDir(), "engine.log") }

// SupervisorLog returns the path of the supervisor's log.
func (p Paths) SupervisorLog() string { return filepath.Join(p.LogDir(), "supervisor.log") }

// EngineState returns the directory of a driver, for what it must know after a crash.
func (p Paths) EngineState() string { return filepath.Join(p.State, "engine") }

// EngineFile returns the path of a driver's description of its running engine: a JSON object with
// the engine's process ID as "engine", and fields of the driver's own.
func (p Paths) EngineFile() string { return filepath.Join(p.EngineState(), "engine.json") }

// containerdSocket returns the path of a containerd's socket.
func (p Paths) containerdSocket() string { return filepath.Join(p.Runtime, "containerd.sock") }

// NerdctlConfig returns the path of the configuration by which nerdctl uses the engine.
func (p Paths) NerdctlConfig() string { return filepath.Join(p.EngineState(), "nerdctl.toml") }

// Socket returns the path of the engine's socket, where that speaks Docker's API.
func (p Paths) Socket() string { return filepath.Join(p.Runtime, "docker.sock") }

// Exec returns the engine's exec root.
func (p Paths) Exec() string { return filepath.Join(p.Runtime, "exec") }

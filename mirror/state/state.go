// Package state describes the state file of a docker rd instance and reads it.
//
// The file is one JSON object that holds what the instance is, how it is, and a
// mirror of everything in its engine. It is replaced whole and atomically, so a
// reader needs no lock: it sees one whole state or the next. [Read] reads it once,
// [Follow] again each time it changes, and [Changes] and [State.Since] tell what
// changed.
//
// Any program may use this package. Nothing in it talks to the engine, and nothing
// in it writes the file.
package state

import "time"

// SchemaVersion is the version of the format that this package reads. A later
// version of it may add fields, but never changes or removes one.
const SchemaVersion = 1

// A Kind names a kind of object. It is also the name of the state's field that
// holds the objects of the kind.
type Kind string

// The kinds of objects.
const (
	Containers Kind = "containers"
	Images     Kind = "images"
	Volumes    Kind = "volumes"
	Networks   Kind = "networks"
	Namespaces Kind = "namespaces"
)

// Kinds returns all kinds, in the order of the state file.
func Kinds() []Kind { return []Kind{Containers, Images, Volumes, Networks, Namespaces} }

// State is the content of a state file. Its lists and maps are never null there,
// times are RFC 3339 in UTC, and zero times are left out.
type State struct {
	Head

	// Objects are keyed by the engine's own identity: containers, images and
	// networks by id, volumes and namespaces by name. A containerd has namespaces that
	// know nothing of each other: there such an id, and the name of a volume, is
	// NAMESPACE/ID.
	Containers map[string]Container `json:"containers"`
	Images     map[string]Image     `json:"images"`
	Volumes    map[string]Volume    `json:"volumes"`
	Networks   map[string]Network   `json:"networks"`
	Namespaces map[string]Namespace `json:"namespaces"`

	// Deleted are tombstones, by growing revision. They are complete after the revision
	// DeletedSince.
	Deleted      []Deleted `json:"deleted"`
	DeletedSince uint64    `json:"deletedSince"`
}

// Head is the state without the objects.
type Head struct {
	SchemaVersion int `json:"schemaVersion"`
	// Revision grows with each write and never falls.
	Revision  uint64    `json:"revision"`
	WrittenAt time.Time `json:"writtenAt,omitzero"`
	// Supervisor is the process that keeps the state up to date; left out if there is none. The
	// conditions count only while it lives.
	Supervisor *Supervisor `json:"supervisor,omitzero"`
	Instance   Instance    `json:"instance"`
	Engine     Engine      `json:"engine"`
	Conditions []Condition `json:"conditions"`
	// LastFailure is why the last start or engine failed; left out if it did not.
	LastFailure *Failure `json:"lastFailure,omitzero"`
	Mirror      Mirror   `json:"mirror"`
}

// Supervisor identifies the process that keeps the state up to date. Process ids are reused: it is
// the same process only if it was started at StartTicks in the boot BootID, on systems that have
// these.
type Supervisor struct {
	PID        int       `json:"pid"`
	StartedAt  time.Time `json:"startedAt,omitzero"`
	StartTicks uint64    `json:"startTicks,omitzero"`
	BootID     string    `json:"bootId"`
	Version    string    `json:"version"`
}

// Kinds of engines.
const (
	KindMoby       = "moby"
	KindContainerd = "containerd"
)

// Instance is what the instance was created as.
type Instance struct {
	UID          string    `json:"uid"`
	Name         string    `json:"name"`
	Driver       string    `json:"driver"`
	Engine       string    `json:"engine"`  // engine kind: KindMoby or KindContainerd
	Context      string    `json:"context"` // empty where a containerd has none
	ContextOwned bool      `json:"contextOwned"`
	Host         string    `json:"host"`
	CreatedAt    time.Time `json:"createdAt,omitzero"`
}

// Engine is the engine's description of itself, and its process if that is ours.
type Engine struct {
	// ID is empty if the engine has no stable identity (podman).
	ID         string `json:"id"`
	Version    string `json:"version"`
	APIVersion string `json:"apiVersion"`
	OS         string `json:"os"`
	Arch       string `json:"arch"`
	Rootless   bool   `json:"rootless"`
	// Name is its host's name, NCPU how many processors it has, MemTotal its memory in bytes.
	Name          string    `json:"name"`
	StorageDriver string    `json:"storageDriver"`
	NCPU          int       `json:"ncpu"`
	MemTotal      int64     `json:"memTotal"`
	PID           int       `json:"pid"`
	StartedAt     time.Time `json:"startedAt,omitzero"`
}

// A Failure is why a start or an engine failed, and when.
type Failure struct {
	// Reason is the one of the condition EngineReady: Exited, CrashLoop, ConnectFailed or Failed.
	Reason  Reason    `json:"reason"`
	Message string    `json:"message"`
	Hint    string    `json:"hint,omitempty"` // what to do about it, if that is known
	Time    time.Time `json:"time,omitzero"`
}

// Mirror is the state of the mirror.
type Mirror struct {
	// Connected says that events of the engine are received.
	Connected bool `json:"connected"`
	// SyncedAt is when the last full sync ended.
	SyncedAt time.Time `json:"syncedAt,omitzero"`
	// Resyncs counts the full syncs of this supervisor, Events the engine events it
	// received. An event that changes nothing is counted with the next change.
	Resyncs uint64 `json:"resyncs"`
	Events  uint64 `json:"events"`
}

// Meta is what every object has.
type Meta struct {
	// AddedRevision is the revision in which the object appeared, Revision that of its last
	// change.
	AddedRevision uint64 `json:"addedRevision,omitzero"`
	Revision      uint64 `json:"revision,omitzero"`
}

// The states of a container.
const (
	StateCreated    = "created"
	StateRunning    = "running"
	StatePaused     = "paused"
	StateRestarting = "restarting"
	StateRemoving   = "removing"
	StateExited     = "exited"
	StateDead       = "dead"
	StateUnknown    = "unknown"
)

// The health of a container.
const (
	HealthNone      = "none" // it has no health check
	HealthStarting  = "starting"
	HealthHealthy   = "healthy"
	HealthUnhealthy = "unhealthy"
)

// Container is a container. Its environment is never mirrored: it holds secrets.
type Container struct {
	ID        string `json:"id"`
	Name      string `json:"name"` // without the engine's leading slash
	Namespace string `json:"namespace"`
	Image     string `json:"image"`    // the image's id
	ImageRef  string `json:"imageRef"` // the image as it was asked for
	// Path and Args are what runs: the Entrypoint followed by the Cmd.
	Path       string            `json:"path"`
	Args       []string          `json:"args"`
	Entrypoint []string          `json:"entrypoint"`
	Cmd        []string          `json:"cmd"`
	User       string            `json:"user"` // as it was configured: empty for the image's default
	Labels     map[string]string `json:"labels"`
	Compose    *Compose          `json:"compose,omitzero"`
	State      string            `json:"state"`
	Health     string            `json:"health"`
	// HealthCheck is left out where there is no health check.
	HealthCheck   *HealthCheck  `json:"healthCheck,omitzero"`
	PID           int           `json:"pid"`
	ExitCode      int           `json:"exitCode"`
	Error         string        `json:"error"`
	OOMKilled     bool          `json:"oomKilled"`
	RestartCount  int           `json:"restartCount"`
	RestartPolicy RestartPolicy `json:"restartPolicy"`
	AutoRemove    bool          `json:"autoRemove"`
	// Limits are left out where none is set.
	Limits     *Limits   `json:"limits,omitzero"`
	CreatedAt  time.Time `json:"createdAt,omitzero"`
	StartedAt  time.Time `json:"startedAt,omitzero"`
	FinishedAt time.Time `json:"finishedAt,omitzero"`
	Ports      []Port    `json:"ports"` // by container port, protocol, host address
	// PortBindings are the ports to publish while it runs, in the order of Ports: HostPort is 0
	// where the engine chooses. ExposedPorts are those it listens on, such as 80/tcp.
	PortBindings []Port          `json:"portBindings"`
	ExposedPorts []string        `json:"exposedPorts"`
	Mounts       []Mount         `json:"mounts"`   // by destination
	Networks     []Attachment    `json:"networks"` // by name
	Usage        *ContainerUsage `json:"usage,omitzero"`
	// Action is the one under way, LastAction how the one before ended.
	Action     *Action     `json:"action,omitzero"`
	LastAction *LastAction `json:"lastAction,omitzero"`
	Deletion   *Deletion   `json:"deletion,omitzero"`
	Meta
}

// Compose is what Docker Compose made an object for. Service is set for containers.
type Compose struct {
	Project string `json:"project"`
	Service string `json:"service"`
}

// HealthCheck is how the health checks of a container go.
type HealthCheck struct {
	// FailingStreak is how many have failed in a row.
	FailingStreak int `json:"failingStreak"`
	// LastOutput is what the last one wrote, where it failed; empty where it did not.
	LastOutput string `json:"lastOutput"`
}

// Limits are what a container may use of its host. 0 and the empty string mean no limit.
type Limits struct {
	Memory            int64  `json:"memory"`            // in bytes
	MemoryReservation int64  `json:"memoryReservation"` // in bytes
	MemorySwap        int64  `json:"memorySwap"`        // in bytes, the memory included; -1 for any
	NanoCPUs          int64  `json:"nanoCpus"`          // in billionths of a processor
	CPUShares         int64  `json:"cpuShares"`
	CPUPeriod         int64  `json:"cpuPeriod"` // in microseconds, as CPUQuota
	CPUQuota          int64  `json:"cpuQuota"`
	CpusetCpus        string `json:"cpusetCpus"`
	PidsLimit         int64  `json:"pidsLimit"`
}

// ContainerUsage is what a container took on disk, in bytes, when that was measured last.
type ContainerUsage struct {
	SizeRw     int64     `json:"sizeRw"`     // what it has written
	SizeRootFs int64     `json:"sizeRootFs"` // with its image
	MeasuredAt time.Time `json:"measuredAt,omitzero"`
}

// RestartPolicy is when the engine starts a container again by itself.
type RestartPolicy struct {
	Name              string `json:"name"`
	MaximumRetryCount int    `json:"maximumRetryCount"`
}

// Port is a port of a container. HostPort is 0 where it is exposed and not
// published.
type Port struct {
	ContainerPort uint16 `json:"containerPort"`
	Protocol      string `json:"protocol"`
	HostIP        string `json:"hostIP"`
	HostPort      uint16 `json:"hostPort"`
}

// Mount is a mount of a container. Name is the volume's name, if it is one.
type Mount struct {
	Type        string `json:"type"`
	Name        string `json:"name"`
	Source      string `json:"source"`
	Destination string `json:"destination"`
	ReadOnly    bool   `json:"readOnly"`
}

// Attachment joins a container to a network.
type Attachment struct {
	Name        string   `json:"name"`
	ID          string   `json:"id"`
	IPAddress   string   `json:"ipAddress"`
	IPv6Address string   `json:"ipv6Address"`
	Gateway     string   `json:"gateway"`
	IPv6Gateway string   `json:"ipv6Gateway"`
	MacAddress  string   `json:"macAddress"`
	Aliases     []string `json:"aliases"` // names in this network beside its own; in the engine's order
}

// Image is an image. Parent is known to engines with graph drivers, for images
// that were built or committed there.
type Image struct {
	ID           string            `json:"id"`
	Namespace    string            `json:"namespace"`
	Parent       string            `json:"parent"`
	RepoTags     []string          `json:"repoTags"`
	RepoDigests  []string          `json:"repoDigests"`
	CreatedAt    time.Time         `json:"createdAt,omitzero"`
	Size         int64             `json:"size"`
	Architecture string            `json:"architecture"`
	Variant      string            `json:"variant"` // of the architecture, such as v8
	OS           string            `json:"os"`
	LayerCount   int               `json:"layerCount"`
	ExposedPorts []string          `json:"exposedPorts"` // such as 80/tcp
	Volumes      []string          `json:"volumes"`      // the paths for which a container gets volumes
	Labels       map[string]string `json:"labels"`
	Usage        *ImageUsage       `json:"usage,omitzero"`
	// Deletions are the requested ones, by the reference to delete: one of the
	// RepoTags, or the id for the image itself.
	Deletions map[string]Deletion `json:"deletions"`
	Meta
}

// ImageUsage is what of an image's size other images have too, in bytes, when that was
// measured last.
type ImageUsage struct {
	SharedSize int64     `json:"sharedSize"`
	MeasuredAt time.Time `json:"measuredAt,omitzero"`
}

// Volume is a volume.
type Volume struct {
	Name       string            `json:"name"`
	Namespace  string            `json:"namespace"`
	Driver     string            `json:"driver"`
	Mountpoint string            `json:"mountpoint"`
	Scope      string            `json:"scope"`
	CreatedAt  time.Time         `json:"createdAt,omitzero"`
	Labels     map[string]string `json:"labels"`
	Options    map[string]string `json:"options"`
	Compose    *Compose          `json:"compose,omitzero"`
	Usage      *VolumeUsage      `json:"usage,omitzero"`
	Deletion   *Deletion         `json:"deletion,omitzero"`
	Meta
}

// VolumeUsage is what a volume took on disk, in bytes, when that was measured last.
type VolumeUsage struct {
	Size       int64     `json:"size"`
	MeasuredAt time.Time `json:"measuredAt,omitzero"`
}

// Network is a network.
type Network struct {
	ID         string            `json:"id"`
	Name       string            `json:"name"`
	Namespace  string            `json:"namespace"`
	Driver     string            `json:"driver"`
	Scope      string            `json:"scope"`
	Internal   bool              `json:"internal"`
	IPv6       bool              `json:"ipv6"`
	Attachable bool              `json:"attachable"`
	Subnets    []string          `json:"subnets"`  // in the engine's order
	Gateways   []string          `json:"gateways"` // of the subnets, in their order; empty for none
	Options    map[string]string `json:"options"`
	Labels     map[string]string `json:"labels"`
	Compose    *Compose          `json:"compose,omitzero"`
	CreatedAt  time.Time         `json:"createdAt,omitzero"`
	Deletion   *Deletion         `json:"deletion,omitzero"`
	Meta
}

// Namespace is a namespace of the engine. A moby engine has one, "moby", a containerd as many as
// were used.
type Namespace struct {
	Name string `json:"name"`
	Meta
}

// How an action ended.
const (
	ActionSucceeded = "Succeeded"
	ActionFailed    = "Failed"
)

// Action is an action that was asked for and has not ended.
type Action struct {
	Request     string    `json:"request"` // the request's id
	Action      string    `json:"action"`
	RequestedAt time.Time `json:"requestedAt,omitzero"`
}

// LastAction is the outcome of the action last asked for.
type LastAction struct {
	Request     string    `json:"request"` // the request's id
	Action      string    `json:"action"`
	State       string    `json:"state"` // ActionSucceeded or ActionFailed
	Error       string    `json:"error"`
	RequestedAt time.Time `json:"requestedAt,omitzero"`
	CompletedAt time.Time `json:"completedAt,omitzero"`
}

// Deletion is a deletion that was asked for and is not done yet.
type Deletion struct {
	Request     string    `json:"request"` // the request's id
	RequestedAt time.Time `json:"requestedAt,omitzero"`
	// Error is why the engine refused it when it was last tried. It is tried again.
	Error string `json:"error"`
}

// Deleted is the tombstone of an object, with the revision from which on it is missing. A container
// that the mirror has never seen leaves one, too.
type Deleted struct {
	Kind      Kind      `json:"kind"`
	ID        string    `json:"id"`
	Name      string    `json:"name,omitzero"` // of a container
	Revision  uint64    `json:"revision"`
	DeletedAt time.Time `json:"deletedAt,omitzero"` // when the mirror learned of it
}

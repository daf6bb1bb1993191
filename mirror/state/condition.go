package state

import "time"

// Status is the status of a condition.
type Status string

// The statuses of a condition.
const (
	True    Status = "True"
	False   Status = "False"
	Unknown Status = "Unknown"
)

// The types of conditions.
const (
	// Ready: everything that the start waits for is decided and the engine is usable.
	Ready = "Ready"
	// EngineReady: the engine answers.
	EngineReady = "EngineReady"
	// ContextReady: the Docker context of the instance is there.
	ContextReady = "ContextReady"
	// ContextPromoted: it is the current one.
	ContextPromoted = "ContextPromoted"
	// SocketClaimed: the default socket leads to the engine.
	SocketClaimed = "SocketClaimed"
	// MirrorSynced: the objects equal the engine's.
	MirrorSynced = "MirrorSynced"
)

// The reasons of conditions. A reason belongs to one status of one or several types.
const (
	ReasonUsable = "Usable" // Ready True; where it is not, the reason is that of what it waits for

	ReasonConnected     = "Connected"     // EngineReady True
	ReasonStarting      = "Starting"      // EngineReady False
	ReasonConnectFailed = "ConnectFailed" // EngineReady False
	ReasonExited        = "Exited"        // EngineReady False
	ReasonCrashLoop     = "CrashLoop"     // EngineReady False
	ReasonStopped       = "Stopped"       // EngineReady False
	ReasonUnresponsive  = "Unresponsive"  // EngineReady Unknown

	ReasonCreated        = "Created"        // ContextReady True
	ReasonNotApplicable  = "NotApplicable"  // ContextReady and MirrorSynced True, ContextPromoted and SocketClaimed False
	ReasonFailed         = "Failed"         // ContextReady and ContextPromoted False
	ReasonForeign        = "Foreign"        // ContextReady False: a context of that name is not ours
	ReasonRemoved        = "Removed"        // ContextReady False: by the user
	ReasonConfigReadOnly = "ConfigReadOnly" // ContextReady False

	ReasonPromoted       = "Promoted"       // ContextPromoted True
	ReasonAlreadyCurrent = "AlreadyCurrent" // ContextPromoted True
	ReasonCurrentHealthy = "CurrentHealthy" // ContextPromoted False
	ReasonCurrentUnknown = "CurrentUnknown" // ContextPromoted False
	ReasonNotRequested   = "NotRequested"   // ContextPromoted and SocketClaimed False
	ReasonDemoted        = "Demoted"        // ContextPromoted False
	ReasonChangedByUser  = "ChangedByUser"  // ContextPromoted False
	ReasonProbing        = "Probing"        // ContextPromoted and SocketClaimed Unknown

	ReasonClaimed      = "Claimed"      // SocketClaimed True
	ReasonInUse        = "InUse"        // SocketClaimed False: somebody answers there
	ReasonNotPermitted = "NotPermitted" // ContextPromoted False: the configuration's owner may not use the engine; SocketClaimed False
	ReasonReleased     = "Released"     // SocketClaimed False: it was given back, or taken by an engine that started later

	ReasonSynced       = "Synced"       // MirrorSynced True
	ReasonSyncing      = "Syncing"      // MirrorSynced False
	ReasonListed       = "Listed"       // MirrorSynced False: all objects are there, details are coming
	ReasonDisconnected = "Disconnected" // MirrorSynced False
)

// Condition is one aspect of how the instance is, as in Kubernetes.
type Condition struct {
	Type    string `json:"type"`
	Status  Status `json:"status"`
	Reason  string `json:"reason"`
	Message string `json:"message"`
	// LastTransitionTime is when the status last changed.
	LastTransitionTime time.Time `json:"lastTransitionTime,omitzero"`
}

// Condition returns the condition of the type. Where there is none, it is Unknown
// and ok is false.
func (s *State) Condition(typ string) (c Condition, ok bool) {
	for _, c := range s.Conditions {
		if c.Type == typ {
			return c, true
		}
	}
	return Condition{Type: typ, Status: Unknown}, false
}

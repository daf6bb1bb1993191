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

// A Reason says in one word why a condition has its status.
type Reason string

// The reasons of conditions. A reason belongs to one status of one or several types.
const (
	ReasonUsable       Reason = "Usable"       // Ready True; where it is not, the reason is that of what it waits for
	ReasonNoSupervisor Reason = "NoSupervisor" // any Unknown: nobody keeps the file up to date, which itself never says so

	ReasonConnected     Reason = "Connected"     // EngineReady True
	ReasonStarting      Reason = "Starting"      // EngineReady False, ContextReady Unknown
	ReasonConnectFailed Reason = "ConnectFailed" // EngineReady False
	ReasonTimedOut      Reason = "TimedOut"      // of a failure: the start was taken back
	ReasonExited        Reason = "Exited"        // EngineReady False
	ReasonCrashLoop     Reason = "CrashLoop"     // EngineReady False
	ReasonStopped       Reason = "Stopped"       // EngineReady False
	ReasonUnresponsive  Reason = "Unresponsive"  // EngineReady Unknown

	ReasonCreated        Reason = "Created"        // ContextReady True
	ReasonNotApplicable  Reason = "NotApplicable"  // ContextReady and MirrorSynced True, ContextPromoted and SocketClaimed False
	ReasonFailed         Reason = "Failed"         // EngineReady, ContextReady, ContextPromoted and SocketClaimed False
	ReasonForeign        Reason = "Foreign"        // ContextReady False: a context of that name is not ours
	ReasonRemoved        Reason = "Removed"        // ContextReady False: by the user
	ReasonLedElsewhere   Reason = "LedElsewhere"   // ContextReady False: by the user
	ReasonConfigReadOnly Reason = "ConfigReadOnly" // ContextReady False

	ReasonPromoted       Reason = "Promoted"       // ContextPromoted True
	ReasonAlreadyCurrent Reason = "AlreadyCurrent" // ContextPromoted True
	ReasonCurrentHealthy Reason = "CurrentHealthy" // ContextPromoted False
	ReasonCurrentUnknown Reason = "CurrentUnknown" // ContextPromoted False
	ReasonNotRequested   Reason = "NotRequested"   // ContextPromoted and SocketClaimed False
	ReasonDemoted        Reason = "Demoted"        // ContextPromoted False
	ReasonChangedByUser  Reason = "ChangedByUser"  // ContextPromoted False
	ReasonProbing        Reason = "Probing"        // ContextPromoted and SocketClaimed Unknown

	ReasonClaimed      Reason = "Claimed"      // SocketClaimed True
	ReasonInUse        Reason = "InUse"        // SocketClaimed False: somebody answers there
	ReasonNotPermitted Reason = "NotPermitted" // ContextPromoted False: the configuration's owner may not use the engine; SocketClaimed False
	ReasonReleased     Reason = "Released"     // SocketClaimed False: it was given back, or taken by an engine that started later

	ReasonSynced       Reason = "Synced"       // MirrorSynced True
	ReasonSyncing      Reason = "Syncing"      // MirrorSynced False
	ReasonListed       Reason = "Listed"       // MirrorSynced False: all objects are there, details are coming
	ReasonDisconnected Reason = "Disconnected" // MirrorSynced False
)

// Condition is one aspect of how the instance is, as in Kubernetes.
type Condition struct {
	Type    string `json:"type"`
	Status  Status `json:"status"`
	Reason  Reason `json:"reason"`
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

package dockercontext

// Condition status values, as in Kubernetes.
const (
	True    = "True"
	False   = "False"
	Unknown = "Unknown"
)

// Reasons of the condition ContextReady.
const (
	ReasonCreated        = "Created"        // our context is there
	ReasonForeign        = "Foreign"        // a context of that name is not ours
	ReasonRemoved        = "Removed"        // the user removed it
	ReasonConfigReadOnly = "ConfigReadOnly" // the Docker configuration can't be written
)

// Reasons of the condition ContextPromoted.
const (
	ReasonPromoted       = "Promoted"       // we made it current
	ReasonAlreadyCurrent = "AlreadyCurrent" // it was current before
	ReasonCurrentHealthy = "CurrentHealthy" // the current context works
	ReasonCurrentUnknown = "CurrentUnknown" // the current context is not provably broken
	ReasonNotRequested   = "NotRequested"   // the policy is never
	ReasonDemoted        = "Demoted"        // we put another one back
	ReasonChangedByUser  = "ChangedByUser"  // somebody else chose meanwhile
	ReasonProbing        = "Probing"        // not decided yet
)

// Reasons of the condition SocketClaimed.
const (
	ReasonClaimed  = "Claimed"  // the default socket leads to the engine
	ReasonInUse    = "InUse"    // somebody else listens there
	ReasonReleased = "Released" // given back, or taken by an engine that started later
)

// Reasons of more than one condition.
const (
	ReasonFailed        = "Failed"
	ReasonNotApplicable = "NotApplicable"
	// ReasonNotPermitted: the owner of the configuration may not use the engine, so it is
	// not made current there; this user may not make the default socket.
	ReasonNotPermitted = "NotPermitted"
)

// ReadyStatus returns the status of the condition ContextReady for a reason.
func ReadyStatus(reason string) string {
	switch reason {
	case ReasonCreated, ReasonNotApplicable:
		return True
	}
	return False
}

// PromotedStatus returns the status of the condition ContextPromoted for a reason.
func PromotedStatus(reason string) string {
	switch reason {
	case ReasonPromoted, ReasonAlreadyCurrent:
		return True
	case ReasonProbing:
		return Unknown
	}
	return False
}

// An Outcome says what a method found and did.
type Outcome struct {
	// Reason is one of the Reason constants of the condition concerned.
	Reason string `json:"reason"`
	// Message is a sentence for people.
	Message string `json:"message"`
	// Changed reports whether something was changed; on a dry run, whether it would be.
	Changed bool `json:"changed"`
	DryRun  bool `json:"dryRun,omitempty"`
	// Previous and Current are the stored current context before and now, by name.
	Previous string `json:"previous,omitempty"`
	Current  string `json:"current,omitempty"`
	// EnvOverride is the environment variable that overrides Current here, or "".
	EnvOverride string `json:"envOverride,omitempty"`
	// Err is the cause where Reason is Failed or ConfigReadOnly.
	Err error `json:"-"`
}

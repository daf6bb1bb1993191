package fakeengine

import (
	"net/http"
	"time"

	"github.com/moby/moby/api/types/events"
)

// Faults are ways to misbehave. The zero value behaves.
type Faults struct {
	// SubscribeDelay passes between the headers of the event stream and the
	// subscription, as in moby, where it is short.
	SubscribeDelay time.Duration
	// EventDelay passes before events are sent to those who listen. Who asks for past events
	// gets them at once.
	EventDelay time.Duration
	// Drop tells which events are lost.
	Drop func(events.Message) bool
	// Repeat sends each event twice, Reorder each pair of events the wrong way round.
	Repeat, Reorder bool
	// InfoDelay, ListDelay and InspectDelay pass between reading the clock or the objects
	// and answering.
	InfoDelay, ListDelay, InspectDelay time.Duration
	// Answer answers a call in the engine's place, or returns false. The path is without
	// the API's version.
	Answer func(w http.ResponseWriter, r *http.Request, path string) bool
	// ListStatus and InspectStatus return the HTTP status to fail a call with, or 0.
	// The kind is that of the route: containers, images, volumes, networks.
	ListStatus    func(kind string) int
	InspectStatus func(kind, id string) int
	// NilGateway has networks say "<nil>" for their gateway, as podman's do.
	NilGateway bool
	// StartFails is why containers can't be started. The engine leaves it in the
	// container, and tells nobody.
	StartFails string
	// StopTakes is how long stopping a container takes.
	StopTakes time.Duration
}

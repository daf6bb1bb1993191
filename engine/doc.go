// Package engine holds instances, the named engines of a person, and the drivers
// that run them.
//
// An [Instance] is a set of files: its settings and paths in instance.json, and the
// directories that the paths name. A [Driver] turns the settings into a running
// engine. Nothing here watches or restarts an engine: that is the supervisor's.
package engine

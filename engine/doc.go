// Package engine holds the drivers: a [Driver] turns an instance's settings into a running
// engine. Nothing here watches or restarts an engine: that is the supervisor's part.
package engine

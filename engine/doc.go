// Package engine holds the drivers: a [Driver] turns an instance's settings into a running
// engine. The supervisor decides when an engine is started again; drivers do not.
package engine

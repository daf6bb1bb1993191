// Package processes finds the processes of an engine, and ends them, on Linux.
//
// It knows no daemon. An engine's processes are those with its uid in their environment, those
// in their mount namespace, their descendants, and those in the control groups of the engine
// and its containers.
package processes

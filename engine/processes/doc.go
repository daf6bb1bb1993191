// Package processes finds the processes of an engine, and ends them, on Linux.
//
// It knows no daemon: an engine's processes are those that carry its uid in their
// environment, what shares their mount namespace, what descends from them, and what is in
// the engine's control groups and in those of its containers.
package processes

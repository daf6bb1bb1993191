// Package instance holds what is known of a named engine on disk: its settings and paths in
// instance.json, the roots below which its directories are made, its creation and removal.
//
// Commands and the supervisor share it. Nothing here runs or watches an engine: package
// engine has the drivers, package supervisor the process that uses them.
package instance

// Package mirror keeps a state file equal to an engine.
//
// A [Source] lists and watches the engine and sends what it learns as [Update]
// messages. A [Store] holds the state and writes it to the file. Neither knows the
// other's loop: one goroutine of the supervisor receives the messages, applies them to
// the store and flushes it when that is due.
//
//	source → Update → the loop → Store.Apply → Store.Flush → state.json
//
// What people ask of the engine goes the other way: package requests.
//
// The format of the file is package state's.
package mirror

// Package mirror keeps a state file equal to an engine.
//
// A [Source] lists and watches the engine and sends what it learns as [Update]
// messages. A [Store] holds the state and writes it to the file. An [Inbox] brings
// what people ask for, an [Executor] does it. None of them knows the others' loop:
// one goroutine of the supervisor receives the messages, applies them to the store
// and flushes it when that is due.
//
//	src → Update ──┐
//	inbox → Request ├─ the loop ─→ Store.Apply, Executor.… ─→ Store.Flush → state.json
//	exec → Outcome ─┘
//
// The format of the file is package state's.
package mirror

// Package supervisor is the background process of a running instance: the one loop
// that joins engine, Docker context and mirror. Package client starts it, asks it and
// waits for it.
//
// The process that holds an instance's supervisor lock is its supervisor. In it one goroutine
// decides and writes. Everything that can take long is async and sends its result as
// an event; a result whose cause has ended is dropped.
package supervisor

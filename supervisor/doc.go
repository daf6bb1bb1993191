// Package supervisor is the background process of a running instance: the one loop
// that joins engine, Docker context and mirror. Package client starts it, asks it and
// waits for it.
//
// The process that holds an instance's supervisor lock is its supervisor. In it one goroutine
// decides and writes; everything that can take long runs beside it and sends back
// what is then to be done. What comes back after its cause has gone is dropped.
package supervisor

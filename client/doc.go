// Package client is what commands need of a running instance: to start and stop it, to
// ask its supervisor for something, to follow its state, to sync its mirror once.
//
// It talks to the supervisor through files and signals only: the lock that it holds, the
// state that it writes, the requests that it reads.
package client

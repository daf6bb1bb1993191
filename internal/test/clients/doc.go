// Package clients tries real clients of Docker's API, each as its users run it: those that
// read Docker's contexts, those that only know DOCKER_HOST, and those that take the first
// socket that they find. `make clients` installs and runs them.
package clients

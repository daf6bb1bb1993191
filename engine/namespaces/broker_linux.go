package namespaces

import (
	"context"
	"os"
	"os/exec"

	"github.com/docker-rd/docker-rd/internal/portproxy"
	"github.com/docker-rd/docker-rd/internal/process"
)

// A Broker opens listeners in the host's network namespace for an engine that can't enter it,
// see package portproxy.
type Broker struct {
	Socket    string
	APISocket string // of RootlessKit's API
	Log       string
}

// StartBroker starts the broker, which is the program of the port proxies.
func (e Engine) StartBroker(program string, b Broker, exit *os.File) (c *Companion, ready <-chan error, err error) {
	cmd := exec.Command(program, portproxy.BrokerArg, b.Socket, b.APISocket)
	cmd.Args[0] = portproxy.Name // it may be docker-rd itself
	return e.startReady(cmd, "broker of published ports", b.Log, exit)
}

// AttachBroker starts the broker again for a running engine.
func (e Engine) AttachBroker(ctx context.Context, program string, engine process.ID, b Broker) (*Companion, error) {
	exit, err := exitPipeOf(engine)
	if err != nil {
		return nil, err
	}
	defer exit.Close()
	c, ready, err := e.StartBroker(program, b, exit)
	if err != nil {
		return nil, err
	}
	if err := c.await(ctx, ready); err != nil {
		return nil, err
	}
	return c, nil
}

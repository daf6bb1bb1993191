// Command testcontainers-go makes a container with the library of that name, which looks for
// the engine by itself: NAME IMAGE COMMAND...
//
// It is a module of its own, so that docker rd does not depend on the library.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/wait"
)

func main() {
	_, err := testcontainers.GenericContainer(context.Background(), testcontainers.GenericContainerRequest{
		ContainerRequest: testcontainers.ContainerRequest{
			Name: os.Args[1], Image: os.Args[2], Cmd: os.Args[3:],
			WaitingFor: wait.ForExit(),
		},
		Started: true,
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

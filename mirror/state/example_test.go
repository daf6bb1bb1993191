package state_test

import (
	"context"
	"fmt"
	"log"

	"github.com/docker-rd/docker-rd/mirror/state"
)

// The state of one container, from a file as `docker-rd paths NAME state` tells it.
func ExampleRead() {
	s, err := state.Read(exampleFile)
	if err != nil {
		log.Fatal(err)
	}
	for _, c := range s.Containers {
		fmt.Println(c.Name, "is", c.State)
	}
	// Output: web is running
}

// What changes, until the context ends.
func ExampleFollow() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var last *state.State
	for s, err := range state.Follow(ctx, exampleFile) {
		if err != nil {
			log.Print(err) // it goes on
			continue
		}
		for _, c := range state.Changes(last, s) {
			fmt.Println(c.Type, c.Kind, c.ID)
		}
		last = s
		cancel() // enough for an example
	}
	// Output:
	// ADDED networks 77be
	// ADDED namespaces moby
	// ADDED volumes logs
	// ADDED images sha256:91d0
	// ADDED containers 4ac1
}

// What changed since a revision that was seen before.
func ExampleState_Since() {
	s, err := state.Read(exampleFile)
	if err != nil {
		log.Fatal(err)
	}
	for _, c := range s.Since(41) {
		fmt.Println(c.Revision, c.Type, c.Kind, c.ID)
	}
	// Output:
	// 42 DELETED volumes data
	// 43 MODIFIED containers 4ac1
}

// exampleFile is a small state file.
const exampleFile = "testdata/state.json"

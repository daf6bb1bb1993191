// Command contextbench measures what docker-rd's contexts cost where there is nothing
// to do.
//
//	make build && go run ./internal/bench/contextbench
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	bin := flag.String("bin", "bin/docker-rd", "the docker-rd to measure")
	rounds := flag.Int("n", 40, "how often to measure")
	flag.Parse()
	path, err := filepath.Abs(*bin)
	if err == nil {
		err = contexts(context.Background(), path, *rounds, os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "contextbench:", err)
		os.Exit(1)
	}
}

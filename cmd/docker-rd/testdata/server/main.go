// Command server is what the containers of script tests run: "serve ADDRESS" answers
// hello over HTTP, "sleep" does nothing until it is told to end.
package main

import (
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	told := make(chan os.Signal, 1)
	signal.Notify(told, syscall.SIGTERM)
	switch {
	case len(os.Args) == 3 && os.Args[1] == "serve":
		http.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprintln(w, "hello") })
		go func() {
			fmt.Fprintln(os.Stderr, http.ListenAndServe(os.Args[2], nil))
			os.Exit(1)
		}()
	case len(os.Args) == 2 && os.Args[1] == "sleep":
	default:
		os.Exit(2)
	}
	<-told
}

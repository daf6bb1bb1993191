// Command prog is the one program of the tests' container images.
package main

import (
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"
)

func main() {
	switch arg(1) {
	case "sleep": // until told to stop, or for so many milliseconds and then exit with a status
		stop := make(chan os.Signal, 1)
		signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
		d, err := strconv.Atoi(arg(2))
		if err != nil {
			d = 1 << 40
		}
		status, _ := strconv.Atoi(arg(3))
		select {
		case <-stop:
		case <-time.After(time.Duration(d) * time.Millisecond):
			os.Exit(status)
		}
	case "http": // answers hello at an address, until told to stop
		http.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprintln(w, "hello") })
		go func() {
			fmt.Fprintln(os.Stderr, http.ListenAndServe(arg(2), nil))
			os.Exit(1)
		}()
		stop := make(chan os.Signal, 1)
		signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
		<-stop
	case "check": // healthy while /healthy is there
		if _, err := os.Stat("/healthy"); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
	case "touch":
		_ = os.WriteFile(arg(2), nil, 0o644)
	case "rm":
		_ = os.Remove(arg(2))
	case "eat": // memory, until it is killed
		var hoard [][]byte
		for {
			b := make([]byte, 1<<20)
			for i := range b {
				b[i] = 1
			}
			hoard = append(hoard, b)
			_ = hoard
		}
	case "exit":
		status, _ := strconv.Atoi(arg(2))
		os.Exit(status)
	}
}

func arg(i int) string {
	if i < len(os.Args) {
		return os.Args[i]
	}
	return ""
}

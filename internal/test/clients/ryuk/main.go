// Command ryuk stands in for testcontainers' program of that name, whose image is in a registry. It
// speaks the same protocol with the library, and removes the library's containers by the engine's
// socket when the library has gone.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/url"
	"strings"
)

func main() {
	l, err := net.Listen("tcp", ":8080")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("Started")
	for {
		// Only what says which containers are its own is the library: it tries the port before.
		conn, err := l.Accept()
		if err != nil {
			log.Fatal(err)
		}
		if labels := serve(conn); len(labels) > 0 {
			if err := reap(labels); err != nil {
				log.Fatal(err)
			}
			return
		}
	}
}

// serve answers the library, and returns its labels when it has gone.
func serve(conn net.Conn) (labels []string) {
	defer conn.Close()
	lines := bufio.NewScanner(conn)
	for lines.Scan() {
		for filter := range strings.SplitSeq(lines.Text(), "&") {
			if label, ok := strings.CutPrefix(filter, "label="); ok {
				labels = append(labels, label)
			}
		}
		if _, err := fmt.Fprintln(conn, "ACK"); err != nil {
			return labels
		}
	}
	return labels
}

// reap removes the containers with all the labels.
func reap(labels []string) error {
	engine := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", "/var/run/docker.sock")
	}}}
	filters, err := json.Marshal(map[string][]string{"label": labels})
	if err != nil {
		return err
	}
	answer, err := engine.Get("http://docker/containers/json?all=1&filters=" + url.QueryEscape(string(filters)))
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	var list []struct{ ID string }
	if err := json.NewDecoder(answer.Body).Decode(&list); err != nil {
		return err
	}
	for _, c := range list {
		req, err := http.NewRequest(http.MethodDelete, "http://docker/containers/"+c.ID+"?force=1", nil)
		if err != nil {
			return err
		}
		answer, err := engine.Do(req)
		if err != nil {
			return err
		}
		_ = answer.Body.Close()
		log.Println("removed", c.ID, answer.Status)
	}
	return nil
}

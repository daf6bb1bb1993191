//go:build !linux

// Command docker-rd-proxy serves one published port of an engine. dockerd runs it,
// which is on Linux only.
package main

import "os"

func main() {
	_, _ = os.Stderr.WriteString("docker-rd-proxy runs on Linux only\n")
	os.Exit(125)
}

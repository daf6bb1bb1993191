// Command docker-rd-proxy serves one published port of an engine. dockerd runs it
// (--userland-proxy-path), people don't: see package portproxy.
package main

import "github.com/docker-rd/docker-rd/internal/portproxy"

func main() { portproxy.Program() }

// Command docker-rd is the Docker CLI plugin `docker rd`, and works without docker
// under its own name.
package main

import "github.com/docker-rd/docker-rd/plugin"

func main() { plugin.Main() }

package client

import (
	"github.com/docker-rd/docker-rd/instance"
	"github.com/docker-rd/docker-rd/internal/failure"
)

// Supervise refuses: a process can't become another here.
func Supervise(i *instance.Instance) error {
	return failure.Refuse("instance %q: the supervisor can't run in the foreground on Windows", i.Name)
}

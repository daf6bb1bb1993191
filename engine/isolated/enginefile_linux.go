package isolated

import (
	"fmt"

	"github.com/docker-rd/docker-rd/engine/namespaces"
	"github.com/docker-rd/docker-rd/internal/files"
	"github.com/docker-rd/docker-rd/internal/process"
)

// An engineFile is what the next process needs to adopt an engine. It is written before dockerd
// runs. It needs no fsync: after a crash of the machine there is no engine either.
type engineFile struct {
	UID       string             `json:"uid"`
	Engine    process.ID         `json:"engine"`
	Subnets   namespaces.Subnets `json:"subnets"`
	Localhost []uint16           `json:"localhost,omitempty"` // the setting, at the start
	LogOffset int64              `json:"logOffset"`           // where this engine's part of the log begins
}

// readEngineFile returns the zero engineFile if there is none that can be read: the engine is then
// found by its processes.
func (c *Config) readEngineFile() engineFile {
	var r engineFile
	if files.ReadJSON(c.Paths.EngineFile(), &r) != nil || r.UID != c.UID {
		return engineFile{}
	}
	return r
}

func (c *Config) writeEngineFile(r engineFile) error {
	if err := files.ReplaceJSON(c.Paths.EngineFile(), r); err != nil {
		return fmt.Errorf("engine file: %w", err)
	}
	return nil
}

package commands

import (
	"os"
	"strings"

	"github.com/docker-rd/docker-rd/internal/logfile"
)

// tailOf returns a function that returns the last line that was added to a log since now, ""
// if there is none.
func tailOf(path string) func() string {
	var begin int64
	if info, err := os.Stat(path); err == nil {
		begin = info.Size()
	}
	return func() string {
		const enough = 4 << 10
		text, _ := logfile.Since(path, begin, enough)
		text = strings.TrimSpace(text)
		_, message := logfile.Parse(text[strings.LastIndexByte(text, '\n')+1:])
		return message
	}
}

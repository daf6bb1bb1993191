package lima

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/docker-rd/docker-rd/engine/processes"
	"github.com/docker-rd/docker-rd/internal/dirwatch"
	"github.com/docker-rd/docker-rd/internal/files"
	"github.com/docker-rd/docker-rd/internal/logfile"
)

// maxLog is how much of a log's end is read for the last error.
const maxLog = 1 << 20

// LastError returns the last error that limactl or the machine has reported since it was started,
// "" if there is none.
func (m *Machine) LastError() string {
	log, _ := logfile.Since(m.cfg.Paths.EngineLog(), m.offset, maxLog)
	var last, emulator string
	for line := range strings.Lines(log) {
		level, text := logfile.Parse(line)
		if level == "" {
			continue
		}
		if _, said, ok := strings.Cut(text, "qemu[stderr]: "); ok {
			emulator = said // it says more than limactl, and earlier
		}
		if level == "error" || level == "fatal" {
			last = text
		}
	}
	if emulator != "" && last != "" {
		return emulator
	}
	return last
}

// An agentLine is a line in the log of Lima's host agent.
type agentLine struct {
	Time  time.Time
	Msg   string
	Error string
}

// watchPorts reports published ports that the host agent does not serve: it only logs that.
func (m *Machine) watchPorts(ctx context.Context) {
	const interval = 10 * time.Second
	follower := dirwatch.Follow(m.cfg.dir(""), interval, nil)
	defer follower.Close()
	file, err := files.Open(m.cfg.dir("ha.stderr.log"))
	if err != nil {
		m.cfg.Log.WarnContext(ctx, "ports are not watched", "error", err)
		return
	}
	defer file.Close()
	r, begun, ports := bufio.NewReader(file), "", ports{}
	for {
		text, err := r.ReadString('\n')
		begun += text
		if err != nil {
			if follower.Wait(ctx) != nil {
				return
			}
			continue
		}
		var line agentLine
		if json.Unmarshal([]byte(begun), &line) == nil {
			if address, why := ports.read(line); address != "" {
				m.problems.Put(address, problem(address, why))
			}
		}
		begun = ""
	}
}

// problem describes a published port that is not served; it is empty if why is "".
func problem(address, why string) (p processes.Problem) {
	if why != "" {
		p = processes.Problem{Words: fmt.Sprintf("port %s is published, but not served on the host: %s", address, why), Port: address}
	}
	return p
}

// ports are the addresses of the host that the host agent has tried to serve, as 127.0.0.1:80/tcp.
type ports map[string]*attempts

// attempts are those to serve one address, about the same time. Docker publishes a port on 0.0.0.0
// and on ::, which is one address here: only one attempt succeeds.
type attempts struct {
	made, failed int
	at           time.Time
}

// sameTime is how long after the first one an attempt may come for the same port.
const sameTime = 2 * time.Second

// read takes in a line of the host agent's. If it is about an address, it returns that, and why it
// is not served; "" if it is, as far as is known.
func (p ports) read(line agentLine) (address, why string) {
	for _, proto := range []string{"tcp", "udp"} {
		upper := strings.ToUpper(proto)
		if about, ok := strings.CutPrefix(line.Msg, "Forwarding "+upper+" from "); ok {
			_, address, _ = strings.Cut(about, " to ")
			address += "/" + proto
			a := p[address]
			if a == nil || line.Time.Sub(a.at) > sameTime {
				p[address] = &attempts{made: 1, at: line.Time}
				return address, ""
			}
			a.made++
			return "", ""
		}
		if address, ok := strings.CutPrefix(line.Msg, "failed to listen "+proto+": "); ok {
			address += "/" + proto
			if a := p[address]; a != nil {
				if a.failed++; a.failed < a.made {
					return "", ""
				}
			}
			return address, line.Error
		}
		if address, ok := strings.CutPrefix(line.Msg, "Not forwarding "+upper+" "); ok {
			return address + "/" + proto, "it is of an address or a port that is not served here"
		}
	}
	return "", ""
}

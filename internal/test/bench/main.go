//go:build linux

// Command bench measures what has a target, and says of each whether it was met. What
// is compared takes turns, so that what else the machine does meets all of it, and
// medians are compared. It takes root, docker, dockerd, rootlesskit and curl, and the programs
// that `make build` makes:
//
//	make bench                                       # everything
//	make bench BENCH_FLAGS='-sections start -n 9'    # one section, more rounds
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/docker-rd/docker-rd/internal/test/endpointtest"
)

// A bench is a run of this program.
type bench struct {
	dir    string // for everything that is made; short, because sockets are in it
	bin    string // the docker-rd to measure
	rounds int
	only   []string // parts of the mirror's section, nil for all
	table  *table
}

// sections are what can be measured, in this order.
var sections = []struct {
	name string
	run  func(*bench, context.Context) error
}{
	{"start", (*bench).start},
	{"contexts", (*bench).contexts},
	{"relay", (*bench).relay},
	{"rootless", (*bench).rootless},
	{"ports", (*bench).ports},
	{"mirror", (*bench).mirror},
	{"containerd", (*bench).containerd},
	{"metadata", (*bench).metadata},
}

func main() {
	endpointtest.Main() // the other side of ssh
	if len(os.Args) > 1 && os.Args[1] == syncCommand {
		exit(syncMain(os.Args[2:]))
	}
	if len(os.Args) == 3 && os.Args[1] == userCommand {
		exit(userMain(os.Args[2]))
	}
	if len(os.Args) == 3 && os.Args[1] == listCommand {
		exit(listMain(os.Args[2]))
	}
	var names []string
	for _, s := range sections {
		names = append(names, s.name)
	}
	which := flag.String("sections", strings.Join(names, ","), "what to measure, separated by commas")
	bin := flag.String("bin", "bin/docker-rd", "the docker-rd to measure, docker-rd-proxy beside it")
	only := flag.String("only", "", "parts of the mirror's section: real, fake, growth, storms, idle")
	rounds := flag.Int("n", 5, "how often to measure what is compared")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	exit(run(ctx, strings.Split(*which, ","), strings.FieldsFunc(*only, func(r rune) bool { return r == ',' }), *bin, *rounds))
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func run(ctx context.Context, which, only []string, bin string, rounds int) (err error) {
	bin, err = filepath.Abs(bin)
	if err != nil {
		return err
	}
	if _, err := os.Stat(bin); err != nil {
		return fmt.Errorf("the program to measure is missing, `make build` makes it: %w", err)
	}
	dir, err := os.MkdirTemp("/tmp", "rdb")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	b := &bench{dir: dir, bin: bin, rounds: rounds, only: only, table: newTable(os.Stdout)}
	begin := time.Now()
	for _, s := range sections {
		if !slices.Contains(which, s.name) {
			continue
		}
		b.table.section(s.name)
		if err := s.run(b, ctx); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	b.table.summary(time.Since(begin))
	return nil
}

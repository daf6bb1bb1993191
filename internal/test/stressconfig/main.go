// Stressconfig counts what is lost of the writes that other programs make to a docker
// configuration while its currentContext is promoted and demoted.
//
// The others are real: processes that load, change and save the file with docker/cli's
// own code. They are serialised among themselves, so that none of the losses is one
// they inflict on each other; the control, with nobody beside them, shows that.
// Beside them runs one loop that sets and unsets currentContext.
//
// Modes: control (no loop), ours, ours-without-leases (as on systems that have none),
// and docker-context-use (the docker CLI in our place). Exit status 1 where a write
// is lost in the modes that promise none: control, and on Linux ours.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"text/tabwriter"
	"time"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == writerCommand {
		writerMain(os.Args[2:])
		return
	}
	var o options
	modes := flag.String("modes", strings.Join(allModes, ","), "what runs beside the writers, comma-separated")
	flag.IntVar(&o.writers, "writers", 4, "number of writer processes")
	flag.IntVar(&o.saves, "saves", 500, "credentials that each of them saves")
	runs := flag.Int("runs", 1, "runs of each mode")
	dir := flag.String("dir", "", "where to work, to choose the file system (default a temporary directory)")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	status := 0
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "mode\trun\twrites\tsurvived\tlost\tedits\tcollisions\ttime\t")
	for _, mode := range strings.Split(*modes, ",") {
		for run := range *runs {
			r, err := stressIn(ctx, *dir, mode, o)
			if err != nil {
				_ = w.Flush()
				fmt.Fprintf(os.Stderr, "stressconfig: %s: %v\n", mode, err)
				os.Exit(1)
			}
			fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%d\t%s\t%s\t\n", mode, run+1, r.writes, r.survived,
				r.writes-r.survived, r.edits, r.collided(), r.took.Round(time.Millisecond))
			if r.survived < r.writes && (mode == modeControl || mode == modeOurs && runtime.GOOS == "linux") {
				status = 1
			}
		}
	}
	_ = w.Flush()
	os.Exit(status)
}

// stressIn runs one mode in a directory of its own below dir.
func stressIn(ctx context.Context, dir, mode string, o options) (result, error) {
	own, err := os.MkdirTemp(dir, "stressconfig-")
	if err != nil {
		return result{}, err
	}
	defer os.RemoveAll(own)
	return stress(ctx, own, mode, o)
}

// Command bench measures Tulle's pair of proxies against others in one run on one machine and writes what it found as
// ratios: test/bench/results.json and docs/performance.md. `make bench` runs it.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/tulle-mesh/tulle/test/bench/lab"
	"github.com/tulle-mesh/tulle/test/bench/systems"
)

// options are the command line.
type options struct {
	scale     string
	blocks    int
	workloads string
	systems   string
	root      string
	results   string
	report    string
	limit     time.Duration
	config    systems.Config
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, readOptions()); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func readOptions() options {
	var o options
	flag.StringVar(&o.scale, "scale", "normal",
		"quick (a few workloads, under 5 minutes), normal (an hour) or long (half a day)")
	flag.IntVar(&o.blocks, "blocks", 0, "number of blocks (0: what the scale says)")
	flag.StringVar(&o.workloads, "workloads", "", "only these, comma separated, of "+strings.Join(workloadNames(), ", "))
	flag.StringVar(&o.systems, "systems", "", "only these, comma separated")
	flag.StringVar(&o.root, "root", "..", "top of the repository")
	flag.StringVar(&o.results, "results", "", "where to write the results (default test/bench/results.json)")
	flag.StringVar(&o.report, "report", "", "where to write the report (default docs/performance.md)")
	flag.DurationVar(&o.limit, "limit", 0,
		"stop measuring after this time and write what there is (0: what the scale says)")
	flag.StringVar(&o.config.ComparatorL, "comparator-l", os.Getenv("COMPARATOR_L"), "program that runs linkerd2-proxy")
	flag.StringVar(&o.config.ComparatorE, "comparator-e", os.Getenv("COMPARATOR_E"), "program that runs Envoy")
	flag.StringVar(&o.config.Tulle, "tulle", "", "path of tulle-proxy (default bin/tulle-proxy)")
	flag.StringVar(&o.config.Before, "before", "",
		"path of an older tulle-proxy, to measure what a change costs (default: none)")
	flag.StringVar(&o.config.Tapped, "tapped", "",
		"server or both: also measure Tulle while somebody watches 1,000 requests a second of the server's proxy, or of "+
			"each, to see what tap costs (default: none)")
	flag.StringVar(&o.config.Profiles, "profiles", "",
		"directory for CPU profiles of tulle-proxy (default: none are taken)")
	flag.Parse()
	return o
}

// plan is how long a run takes.
type plan struct {
	blocks                 int
	warmup, measure, pause time.Duration
	limit                  time.Duration
	all                    bool // every workload and phase, and a second try for what was disturbed
}

var plans = map[string]plan{
	"quick": {blocks: 2, warmup: time.Second, measure: 2 * time.Second, pause: 1500 * time.Millisecond,
		limit: 270 * time.Second},
	"normal": {blocks: 5, warmup: time.Second, measure: 4 * time.Second, pause: 3 * time.Second, limit: time.Hour,
		all: true},
	"long": {blocks: 7, warmup: 5 * time.Second, measure: 20 * time.Second, pause: 5 * time.Second,
		limit: 12 * time.Hour, all: true},
}

// run enters the sandbox and measures there.
func run(ctx context.Context, o options) error {
	if !lab.Inside() {
		return lab.Enter(ctx)
	}
	if err := lab.Furnish(); err != nil {
		return err
	}
	b, err := newBench(o)
	if err != nil {
		return err
	}
	defer os.RemoveAll(b.dir)
	if err := b.calibrate(ctx); err != nil {
		return err
	}
	if err := b.blocks(ctx); err != nil {
		return err
	}
	return b.write()
}

// bench is one run.
type bench struct {
	options   options
	plan      plan
	systems   []*systems.System
	workloads []workload
	began     time.Time
	dir       string // for configurations and logs
	bin       string // the bench's own programs
	message   string // file: the gRPC message that h2load sends
	pki       *lab.PKI
	rates     map[systems.Kind]float64 // throughput of the slowest production comparator, shared layout
	samples   *samples
}

func newBench(o options) (*bench, error) {
	root, err := filepath.Abs(o.root)
	if err != nil {
		return nil, fmt.Errorf("find repository: %w", err)
	}
	o.root = root
	if o.config.Tulle == "" {
		o.config.Tulle = filepath.Join(root, "bin", "tulle-proxy")
	}
	if t := o.config.Tapped; t != "" && t != systems.TappedServer && t != systems.TappedBoth {
		return nil, fmt.Errorf("tapped %q: want %s or %s", t, systems.TappedServer, systems.TappedBoth)
	}
	o.results = cmp.Or(o.results, filepath.Join(root, "test", "bench", "results.json"))
	o.report = cmp.Or(o.report, filepath.Join(root, "docs", "performance.md"))
	b := &bench{options: o, bin: filepath.Dir(os.Args[0]), rates: map[systems.Kind]float64{}, samples: newSamples(),
		began: time.Now()}
	var ok bool
	if b.plan, ok = plans[o.scale]; !ok {
		return nil, fmt.Errorf("scale %q: want quick, normal or long", o.scale)
	}
	b.plan.blocks, b.plan.limit = cmp.Or(o.blocks, b.plan.blocks), cmp.Or(o.limit, b.plan.limit)
	b.systems = chosen(systems.All(o.config), o.systems, func(s *systems.System) string { return s.Name })
	b.workloads = chosen(workloads, o.workloads, func(w workload) string { return w.name })
	if b.dir, err = os.MkdirTemp("", "tulle-bench-"); err != nil {
		return nil, fmt.Errorf("make work directory: %w", err)
	}
	b.message = filepath.Join(b.dir, "message")
	if err := os.WriteFile(b.message, append([]byte{0, 0, 0, 0, 95}, make([]byte, 95)...), 0o644); err != nil {
		return nil, fmt.Errorf("write message: %w", err)
	}
	b.pki, err = lab.NewPKI(b.dir, time.Now())
	return b, err
}

// chosen are the elements that a comma-separated list names; an empty list names all.
func chosen[T any](all []T, list string, name func(T) string) []T {
	if list == "" {
		return all
	}
	var some []T
	for _, one := range all {
		for word := range strings.SplitSeq(list, ",") {
			if name(one) == word {
				some = append(some, one)
			}
		}
	}
	return some
}

var errInterrupted = errors.New("interrupted")

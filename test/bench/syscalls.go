package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"time"

	"github.com/tulle-mesh/tulle/test/bench/lab"
)

// straceTotal is the last line of strace's table: share, seconds, microseconds a call, calls, and errors if there were
// any.
var straceTotal = regexp.MustCompile(`(?m)^100\.00\s+\S+\s+\S+\s+(\d+)\s+(?:\d+\s+)?total$`)

// syscalls counts the system calls of the pair a request. The trace slows the pair down, so nothing else is measured
// meanwhile.
func syscalls(name string, conns int) func(context.Context, *lane) (figures, error) {
	return func(ctx context.Context, n *lane) (figures, error) {
		if len(n.pair) == 0 {
			return figures{}, nil
		}
		if _, _, err := n.wrk(ctx, "/200", conns, time.Second); err != nil { // connections between the two exist before
			return nil, fmt.Errorf("warm up: %w", err)
		}
		traces, err := n.trace(ctx)
		if err != nil {
			return nil, err
		}
		o, _, err := n.wrk(ctx, "/200", conns, 2*time.Second)
		var calls float64
		for _, t := range traces {
			count, failure := t.stop()
			calls += count
			err = errors.Join(err, failure)
		}
		if err != nil {
			return nil, err
		}
		return figures{name + ".syscalls": calls / o.Requests}, nil
	}
}

// tracer is one strace that counts.
type tracer struct {
	process *lab.Process
	out     string
}

func (n *lane) trace(ctx context.Context) ([]tracer, error) {
	var traces []tracer
	for _, p := range n.pair {
		t := tracer{out: filepath.Join(n.bench.dir, p.Name+".strace")}
		args := []string{"-c", "-f", "-o", t.out}
		for _, pid := range p.Tree() {
			args = append(args, "-p", strconv.Itoa(pid))
		}
		var err error
		if t.process, err = (lab.Command{Name: "strace", Path: "strace", Args: args}).Start(ctx, n.bench.dir); err != nil {
			return nil, err
		}
		traces = append(traces, t)
	}
	return traces, rest(ctx, 500*time.Millisecond) // until they are attached
}

func (t tracer) stop() (calls float64, err error) {
	t.process.Stop()
	text, err := os.ReadFile(t.out)
	if err != nil {
		return 0, fmt.Errorf("read trace: %w", err)
	}
	m := straceTotal.FindSubmatch(text)
	if m == nil {
		return 0, fmt.Errorf("read trace: no total in %q", text)
	}
	return number(m[1]), nil
}

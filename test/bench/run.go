package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/tulle-mesh/tulle/test/bench/lab"
	"github.com/tulle-mesh/tulle/test/bench/systems"
)

// Addresses of a run, all in the sandbox: the client and its proxy on 127.0.0.1, the server and its proxy on 127.0.0.2.
var (
	outAddr  = netip.MustParseAddrPort("127.0.0.1:4001")
	inAddr   = netip.MustParseAddrPort("127.0.0.2:4002")
	httpAddr = netip.MustParseAddrPort("127.0.0.2:4003")
	grpcAddr = netip.MustParseAddrPort("127.0.0.2:4004")
	tcpAddr  = netip.MustParseAddrPort("127.0.0.2:4005")
)

// layout says which CPUs the ends and the pair use.
type layout struct {
	name       string
	ends, pair string // as taskset reads it
	threads    int    // of each proxy
	pod        bool   // the client is in a pod, see systems.Setup
}

// inPod is the layout with the client in a pod.
func (l layout) inPod() layout {
	l.pod = true
	return l
}

var (
	shared   = layout{name: "shared", threads: 2}
	isolated = layout{name: "isolated", ends: "0", pair: "1", threads: 1}
)

// lane is one system set up in one layout for one kind of traffic: what a measurement runs against.
type lane struct {
	bench  *bench
	system *systems.System
	layout layout
	kind   systems.Kind
	entry  netip.AddrPort
	origin *lab.Process
	pair   []*lab.Process
	plane  *lab.Process // nil without a control plane
	// watcher watches a number of the pair's proxies, and writes to the file counts what it saw; nil unless the system
	// has one.
	watcher *lab.Process
	tapped  int
	counts  string
	noise   float64 // the highest share of foreign CPU or steal seen
}

func appAddr(kind systems.Kind) netip.AddrPort {
	switch kind {
	case systems.GRPC:
		return grpcAddr
	case systems.TCP:
		return tcpAddr
	}
	return httpAddr
}

// open starts the origin and the pair and waits until a connection goes through.
func (b *bench) open(ctx context.Context, system *systems.System, l layout, kind systems.Kind) (*lane, error) {
	dir := filepath.Join(b.dir, system.Name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("open lane: %w", err)
	}
	setup := systems.Setup{Kind: kind, Out: outAddr, In: inAddr, App: appAddr(kind), Threads: l.threads, CPUs: l.pair,
		Ends: l.ends,
		Pod:  l.pod, Dir: dir, Bin: b.bin, PKI: b.pki}
	n := &lane{bench: b, system: system, layout: l, kind: kind, entry: system.Entry(setup)}
	origin := lab.Command{Name: "origin", Path: filepath.Join(b.bin, "origin"), CPUs: l.ends,
		Args: []string{"-http", httpAddr.String(), "-grpc", grpcAddr.String(), "-tcp", tcpAddr.String()}}
	var err error
	if n.origin, err = origin.Start(ctx, dir); err != nil {
		return nil, err
	}
	if err := n.startPair(ctx, setup); err != nil {
		n.close()
		return nil, err
	}
	if err := n.ready(ctx); err != nil {
		n.close()
		return nil, fmt.Errorf("%s, %s: %w", system.Name, kind, err)
	}
	if err := n.startWatcher(ctx, setup); err != nil {
		n.close()
		return nil, fmt.Errorf("%s: %w", system.Name, err)
	}
	return n, nil
}

// startPair starts the control plane, where there is one, and the pair.
func (n *lane) startPair(ctx context.Context, setup systems.Setup) error {
	if setup.Pod {
		c, err := n.system.Plane(setup)
		if err != nil {
			return err
		}
		if n.plane, err = c.Start(ctx, setup.Dir); err != nil {
			return err
		}
	}
	commands, err := n.system.Commands(setup)
	if err != nil {
		return err
	}
	for _, c := range commands {
		p, err := c.Start(ctx, setup.Dir)
		if err != nil {
			return err
		}
		n.pair = append(n.pair, p)
	}
	return nil
}

// processes are all that the lane has started.
func (n *lane) processes() []*lab.Process {
	all := append(slices.Clone(n.pair), n.origin)
	for _, p := range []*lab.Process{n.plane, n.watcher} {
		if p != nil {
			all = append(all, p)
		}
	}
	return all
}

// ready waits until one exchange went through.
func (n *lane) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	mode := []string{"-kind", string(n.kind), "-conns", "1", "churn"}
	// churn is HTTP/1 or TCP, and from addresses that lead nowhere but to loopback
	if n.kind == systems.GRPC || n.layout.pod {
		mode = []string{"-kind", string(n.kind), "-conns", "1", "-rate", "20", "rate"}
	}
	for {
		_, _, err := n.blast(ctx, append([]string{"-duration", "60ms"}, mode...)...)
		if err == nil {
			return nil
		}
		for _, p := range n.processes() {
			if dead := p.Alive(); dead != nil {
				return dead
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("no exchange went through: %w", err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (n *lane) close() {
	if n.watcher != nil {
		n.watcher.Stop()
	}
	for i := len(n.pair) - 1; i >= 0; i-- {
		n.pair[i].Stop()
	}
	for _, p := range []*lab.Process{n.plane, n.origin} {
		if p != nil {
			p.Stop()
		}
	}
}

// cost is what a stretch of load used.
type cost struct {
	wall time.Duration
	pair time.Duration // user and system time of the two proxies
	all  time.Duration // busy time of the whole machine, less what strangers used
}

// load runs a load command between two readings of every meter.
func (n *lane) load(run func() (used time.Duration, err error)) (cost, error) {
	read := func() (pair, own time.Duration) {
		for _, p := range n.pair {
			pair += p.CPU()
		}
		for _, p := range n.processes() {
			own += p.CPU()
		}
		return pair, own
	}
	machine, err := lab.ReadMachine()
	if err != nil {
		return cost{}, err
	}
	pair, own := read()
	start := time.Now()
	used, err := run()
	wall := time.Since(start)
	if err != nil {
		return cost{}, err
	}
	pairAfter, ownAfter := read()
	machineAfter, err := lab.ReadMachine()
	if err != nil {
		return cost{}, err
	}
	for _, p := range n.processes() {
		if err := p.Alive(); err != nil {
			return cost{}, err
		}
	}
	c := cost{wall: wall, pair: pairAfter - pair, all: ownAfter - own + used}
	n.note(machineAfter.Sub(machine), c.all)
	return c, nil
}

// note keeps the share of the machine that strangers took: other processes, or the hypervisor.
func (n *lane) note(machine lab.Machine, own time.Duration) {
	if machine.Total <= 0 {
		return
	}
	foreign := float64(machine.Busy-own) / float64(machine.Total)
	n.noise = max(n.noise, foreign, float64(machine.Steal)/float64(machine.Total))
}

var errNoRequests = errors.New("no request was answered")

// Command tapper watches proxies as the tap server does, and counts what they show. A signal ends it; then it
// writes the counts as JSON to a file.
package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/tulle-mesh/tulle/api/pb"
	"github.com/tulle-mesh/tulle/identity/workload"
	"github.com/tulle-mesh/tulle/mesh"
)

// window is how many bytes a proxy may send before they are read. As with the tap server it is fixed: otherwise gRPC
// would measure the connection with pings, which the proxy has to answer.
const window = 64 << 10

// counts are what all proxies together showed.
type counts struct {
	Requests uint64  `json:"requests"` // their heads
	Events   uint64  `json:"events"`
	Lost     uint64  `json:"lost"`
	Skipped  uint64  `json:"skipped"` // requests beyond the rate
	Seconds  float64 `json:"seconds"` // since the first request
}

// add adds what another message or proxy showed.
func (c *counts) add(more counts) {
	c.Requests += more.Requests
	c.Events += more.Events
	c.Lost += more.Lost
	c.Skipped += more.Skipped
}

// tapper counts. Its methods may be called by several goroutines.
type tapper struct {
	certs *workload.Manager
	rate  uint

	mu    sync.Mutex // guards the fields below
	seen  counts
	begun time.Time
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "tapper:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	chain, key := flag.String("chain", "", "certificates, PEM"), flag.String("key", "", "their key, PEM")
	roots, out := flag.String("roots", "", "trust anchors, PEM"), flag.String("out", "", "file for the counts")
	rate := flag.Uint("rate", mesh.MaxTapRate, "requests a second of each proxy")
	flag.Parse()
	cert, err := tls.LoadX509KeyPair(*chain, *key)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(*roots)
	if err != nil {
		return err
	}
	anchors, err := mesh.ParseRoots(text)
	if err != nil {
		return err
	}
	t := &tapper{rate: *rate}
	if t.certs, err = workload.Static(cert, anchors); err != nil {
		return err
	}
	group, groupCtx := errgroup.WithContext(ctx)
	for _, target := range flag.Args() {
		group.Go(func() error { return t.watch(groupCtx, target) })
	}
	if err := group.Wait(); ctx.Err() == nil {
		return err
	}
	if t.seen.Requests > 0 {
		t.seen.Seconds = time.Since(t.begun).Seconds()
	}
	if text, err = json.Marshal(t.seen); err != nil {
		return err
	}
	return os.WriteFile(*out, text, 0o644)
}

// watch counts what one proxy shows, which target names as address=identity.
func (t *tapper) watch(ctx context.Context, target string) error {
	addr, identity, _ := strings.Cut(target, "=")
	id, err := mesh.ParseID(identity)
	if err != nil {
		return err
	}
	conn, err := grpc.NewClient("passthrough:///"+addr,
		grpc.WithTransportCredentials(credentials.NewTLS(t.certs.ClientTLS(id, "h2"))),
		grpc.WithStaticStreamWindowSize(window), grpc.WithStaticConnWindowSize(window),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(codec{})))
	if err != nil {
		return err
	}
	defer conn.Close()
	stream, err := pb.NewTapClient(conn).Watch(ctx, &pb.TapQuery{PerSecond: uint32(t.rate)})
	if err != nil {
		return err
	}
	for {
		var m counts
		if err := stream.RecvMsg(&m); err != nil {
			return fmt.Errorf("watch %s: %w", addr, err)
		}
		t.count(m)
	}
}

func (t *tapper) count(m counts) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.seen.add(m)
	if t.begun.IsZero() && t.seen.Requests > 0 {
		t.begun = time.Now()
	}
}

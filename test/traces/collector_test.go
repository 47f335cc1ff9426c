// Package traces tests the spans of proxies with the OpenTelemetry collector's own receiver.
package traces

import (
	"context"
	"net"
	"slices"
	"sync"
	"testing"

	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/tulle-mesh/tulle/internal/meshtest"
	"github.com/tulle-mesh/tulle/test/collector"
)

// otlp is a collector that keeps what it gets.
type otlp struct {
	grpc, http string // addresses

	mu    sync.Mutex // guards the field below
	spans []span
}

type span = collector.Span

func startCollector(t *testing.T) *otlp {
	t.Helper()
	c := &otlp{grpc: freeAddr(t), http: freeAddr(t)}
	stop, err := collector.Start(t.Context(), c.grpc, c.http, c.consume)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := stop(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	return c
}

func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func (c *otlp) consume(traces ptrace.Traces) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.spans = append(c.spans, collector.Spans(traces)...)
}

// await returns the spans, in the order of their begin, when there are n of them.
func (c *otlp) await(t *testing.T, n int) []span {
	t.Helper()
	var got []span
	meshtest.Await(t, "the spans", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		got = slices.Clone(c.spans)
		return len(got) >= n
	})
	if len(got) > n {
		for _, s := range got {
			t.Logf("%s %s %v", s.Kind(), s.Name(), s.Attributes)
		}
		t.Fatalf("got %d spans, want %d", len(got), n)
	}
	slices.SortStableFunc(got, func(a, b span) int { return int(a.StartTimestamp()) - int(b.StartTimestamp()) })
	return got
}

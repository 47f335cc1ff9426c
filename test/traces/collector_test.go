// Package traces tests the spans of proxies with the OpenTelemetry collector's own receiver.
package traces

import (
	"context"
	"net"
	"slices"
	"sync"
	"testing"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/receiver"
	"go.opentelemetry.io/collector/receiver/otlpreceiver"
	"go.opentelemetry.io/otel/metric/noop"
	tracenoop "go.opentelemetry.io/otel/trace/noop"
	"go.uber.org/zap"

	"github.com/tulle-mesh/tulle/internal/meshtest"
)

// collector is the OTLP receiver of the OpenTelemetry collector, which keeps what it gets.
type collector struct {
	grpc, http string // addresses

	mu    sync.Mutex // guards the field below
	spans []span
}

// span is a span as the collector has it. Attributes of its resource begin with "resource.".
type span struct {
	ptrace.Span
	attributes map[string]any
}

func startCollector(t *testing.T) *collector {
	t.Helper()
	c := &collector{grpc: freeAddr(t), http: freeAddr(t)}
	factory := otlpreceiver.NewFactory()
	cfg := factory.CreateDefaultConfig()
	if err := confmap.NewFromStringMap(map[string]any{"protocols": map[string]any{
		"grpc": map[string]any{"endpoint": c.grpc}, "http": map[string]any{"endpoint": c.http},
	}}).Unmarshal(cfg); err != nil {
		t.Fatal(err)
	}
	next, err := consumer.NewTraces(c.consume)
	if err != nil {
		t.Fatal(err)
	}
	r, err := factory.CreateTraces(t.Context(), receiver.Settings{
		ID: component.NewID(factory.Type()),
		TelemetrySettings: component.TelemetrySettings{
			Logger: zap.NewNop(), MeterProvider: noop.NewMeterProvider(), TracerProvider: tracenoop.NewTracerProvider(),
		},
	}, cfg, next)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Start(t.Context(), host{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Shutdown(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	return c
}

// host is a collector without extensions.
type host struct{}

func (host) GetExtensions() map[component.ID]component.Component { return nil }

func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func (c *collector) consume(_ context.Context, traces ptrace.Traces) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, rs := range traces.ResourceSpans().All() {
		for _, ss := range rs.ScopeSpans().All() {
			for _, s := range ss.Spans().All() {
				got := span{Span: s, attributes: s.Attributes().AsRaw()}
				for k, v := range rs.Resource().Attributes().AsRaw() {
					got.attributes["resource."+k] = v
				}
				got.attributes["scope"] = ss.Scope().Name()
				c.spans = append(c.spans, got)
			}
		}
	}
	return nil
}

// await returns the spans, in the order of their begin, when there are n of them.
func (c *collector) await(t *testing.T, n int) []span {
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
			t.Logf("%s %s %v", s.Kind(), s.Name(), s.attributes)
		}
		t.Fatalf("got %d spans, want %d", len(got), n)
	}
	slices.SortStableFunc(got, func(a, b span) int { return int(a.StartTimestamp()) - int(b.StartTimestamp()) })
	return got
}

package outbound

import (
	"fmt"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/tulle-mesh/tulle/internal/alloctest"
	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/proxy/exchange"
	"github.com/tulle-mesh/tulle/proxy/message"
	"github.com/tulle-mesh/tulle/proxy/trace"
)

// processTime is how long the process has computed: unlike the clock, it does not count what else the machine does.
func processTime() time.Duration {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		panic(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// BenchmarkOutboundHandler is what a request costs the outbound side beyond moving it: rule, backend, endpoint,
// metrics. docs/routing.md compares it with the whole request.
func BenchmarkOutboundHandler(b *testing.B) {
	backend := func(name string) mesh.WeightedBackend {
		return mesh.WeightedBackend{Service: mesh.ServiceRef{Namespace: "shop", Name: name, Port: 80}, Weight: 1}
	}
	many := make([]mesh.Rule, 200)
	for i := range many {
		many[i] = mesh.Rule{Matches: []mesh.Match{
			{Path: mesh.PathKind(1 + i%2), Value: fmt.Sprintf("/api/v%d", i)},
			{Headers: []mesh.FieldMatch{{Name: "x-user", Value: fmt.Sprint(i)}}},
		}, Backends: []mesh.WeightedBackend{backend("a"), backend("b")}}
	}
	many[199].Matches = []mesh.Match{{}}
	for _, c := range []struct {
		name  string
		rules []mesh.Rule
	}{{"no routes", nil}, {"1 rule", many[199:]}, {"200 rules", many}} {
		value := mesh.Outbound{
			Kind: mesh.ToService, Service: mesh.ServiceRef{Namespace: "shop", Name: "cart", Port: 80},
			Authority: "cart.shop.svc.cluster.local:80",
			Endpoints: []mesh.Endpoint{{Addr: netip.MustParseAddrPort("10.0.0.1:80")},
				{Addr: netip.MustParseAddrPort("10.0.0.2:80")}},
		}
		if c.rules != nil {
			value.Routes = []mesh.Route{{Ref: mesh.Ref{Kind: "HTTPRoute", Namespace: "shop", Name: "r"}, Rules: c.rules}}
			for _, name := range []string{"a", "b"} {
				value.Backends = append(value.Backends, mesh.Backend{Service: backend(name).Service, Endpoints: value.Endpoints})
			}
		}
		b.Run(c.name, func(b *testing.B) { benchmarkHandler(b, value, nil, "") })
	}
}

// BenchmarkTracing is what spans cost the outbound side. Compare "off" with "no routes" of the benchmark above at a
// commit before: a proxy that makes no spans pays for the test of a pointer.
func BenchmarkTracing(b *testing.B) {
	value := mesh.Outbound{
		Kind: mesh.ToService, Service: mesh.ServiceRef{Namespace: "shop", Name: "cart", Port: 80},
		Endpoints: []mesh.Endpoint{{Addr: netip.MustParseAddrPort("10.0.0.1:80")}},
	}
	for _, c := range []struct {
		name   string
		ratio  float64
		parent string
	}{
		{"off", -1, ""}, {"drawn out", 5e-324, ""}, {"not sampled by the caller", 1, unsampledParent}, {"sampled", 1, ""},
	} {
		b.Run(c.name, func(b *testing.B) { benchmarkHandler(b, value, tracing(b, c.ratio), c.parent) })
	}
}

const unsampledParent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"

// tracing returns a tracer whose queue is full; nil for a negative ratio.
func tracing(t testing.TB, ratio float64) *trace.Tracer {
	if ratio < 0 {
		return nil
	}
	tracer, err := trace.FromSettings(&mesh.ProxyConfig{Tracing: &mesh.Tracing{
		Collector: "127.0.0.1:4317", SamplingRatio: ratio}}, nil, trace.Source{Log: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	return tracer
}

// TestTracingOffAllocatesNothing holds the off state, and what is not sampled, to no allocation of its own: the request
// allocates as often as the smallest of all.
func TestTracingOffAllocatesNothing(t *testing.T) {
	for _, c := range []struct {
		name   string
		ratio  float64
		parent string
	}{{"off", -1, unsampledParent}, {"drawn out", 5e-324, ""}, {"not sampled by the caller", 1, unsampledParent}} {
		o, source := newOutbound(t)
		o.env.Tracer = tracing(t, c.ratio)
		source.cell.Store(&mesh.Outbound{
			Kind: mesh.ToService, Service: mesh.ServiceRef{Namespace: "shop", Name: "cart", Port: 80},
			Endpoints: []mesh.Endpoint{{Addr: netip.MustParseAddrPort("10.0.0.1:80")}},
		})
		x, send, release := handlerOf(o, c.parent)
		if got := alloctest.Count(t, 100, send); got != 0 {
			t.Errorf("%s: %v allocations", c.name, got)
		}
		if x.Request.Has("traceparent") != (c.ratio >= 0 || c.parent != "") {
			t.Errorf("%s: the request has a traceparent: %v", c.name, x.Request.Has("traceparent"))
		}
		release()
	}
}

// handlerOf returns a function that takes one request through the handler.
func handlerOf(o *Outbound, parent string) (x *exchange.Exchange, send, release func()) {
	t, release, _ := o.targets.get(mesh.Target{Addr: netip.MustParseAddrPort("10.96.0.1:80")})
	t.refresh()
	x = &exchange.Exchange{}
	conn, now := &exchange.Conn{Data: t}, time.Now()
	return x, func() {
		x.Reset()
		x.Conn = conn
		x.Begun, x.Sent, x.Responded, x.Ended = now, now, now, now
		x.Request.SetPart(message.Method, "GET")
		x.Request.SetPart(message.Authority, "cart.shop")
		x.Request.SetPart(message.Path, "/api/books/42?x=1")
		for _, name := range []string{"user-agent", "accept", "accept-encoding", "x-request-id", "x-user", "cookie"} {
			x.Request.Add(name, "a value of some length")
		}
		if parent != "" {
			x.Request.Add("traceparent", parent)
		}
		o.Route(x)
		x.Response.Status = 200
		o.Response(x)
		o.End(x)
	}, release
}

func benchmarkHandler(b *testing.B, value mesh.Outbound, tracer *trace.Tracer, parent string) {
	o, source := newOutbound(b)
	o.env.Tracer = tracer
	source.cell.Store(&value)
	_, send, release := handlerOf(o, parent)
	defer release()
	b.ReportAllocs()
	began := processTime()
	for b.Loop() {
		send()
	}
	b.ReportMetric(float64(processTime()-began)/float64(b.N), "cpu-ns/op")
}

package outbound

import (
	"fmt"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/proxy/exchange"
	"github.com/tulle-mesh/tulle/proxy/message"
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
		b.Run(c.name, func(b *testing.B) { benchmarkHandler(b, value) })
	}
}

func benchmarkHandler(b *testing.B, value mesh.Outbound) {
	o, source := newOutbound(b)
	key := mesh.Target{Addr: netip.MustParseAddrPort("10.96.0.1:80")}
	source.cell.Store(&value)
	t, release, _ := o.targets.get(key)
	defer release()
	t.refresh()
	x, conn, now := &exchange.Exchange{}, &exchange.Conn{Data: t}, time.Now()
	b.ReportAllocs()
	began := processTime()
	for b.Loop() {
		x.Reset()
		x.Conn = conn
		x.Begun, x.Sent, x.Responded, x.Ended = now, now, now, now
		x.Request.SetPart(message.Method, "GET")
		x.Request.SetPart(message.Authority, "cart.shop")
		x.Request.SetPart(message.Path, "/api/books/42?x=1")
		for _, name := range []string{"user-agent", "accept", "accept-encoding", "x-request-id", "x-user", "cookie"} {
			x.Request.Add(name, "a value of some length")
		}
		o.Route(x)
		x.Response.Status = 200
		o.Response(x)
		o.End(x)
	}
	b.ReportMetric(float64(processTime()-began)/float64(b.N), "cpu-ns/op")
}

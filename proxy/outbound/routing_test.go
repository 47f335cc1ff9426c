package outbound

import (
	"net/netip"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/proxy/exchange"
	"github.com/tulle-mesh/tulle/proxy/message"
)

var shopTarget = mesh.Target{Addr: netip.MustParseAddrPort("10.96.0.10:80")}

// routed is the value of a Service with these rules, and the backend "a" at these addresses.
func routed(rules []mesh.Rule, addrs ...string) *mesh.Outbound {
	a := mesh.Backend{Service: mesh.ServiceRef{Namespace: "shop", Name: "a", Port: 80}}
	for _, addr := range addrs {
		a.Endpoints = append(a.Endpoints, mesh.Endpoint{Addr: netip.MustParseAddrPort(addr)})
	}
	return &mesh.Outbound{
		Kind: mesh.ToService, Service: mesh.ServiceRef{Namespace: "shop", Name: "cart", Port: 80},
		Routes:   []mesh.Route{{Ref: mesh.Ref{Kind: "HTTPRoute", Namespace: "shop", Name: "r"}, Rules: rules}},
		Backends: []mesh.Backend{a},
	}
}

// toA is a rule that sends requests below path to the backend "a".
func toA(path string, weight uint32) mesh.Rule {
	a := mesh.ServiceRef{Namespace: "shop", Name: "a", Port: 80}
	return mesh.Rule{
		Matches: []mesh.Match{{Path: mesh.PrefixPath, Value: path}},
		Backends: []mesh.WeightedBackend{{Service: a, Ref: mesh.Ref{Kind: "Service", Namespace: "shop", Name: "a"},
			Weight: weight}},
	}
}

// take gives the target another value.
func take(t *testing.T, tg *target, s *source, v *mesh.Outbound) *routing {
	t.Helper()
	s.cell.Store(v)
	tg.refresh()
	return tg.routing.Load()
}

// TestBudgetsOutliveRoutes changes the routes: that must not fill a budget again.
func TestBudgetsOutliveRoutes(t *testing.T) {
	o, source := newOutbound(t)
	tg, release, _ := o.targets.get(shopTarget)
	defer release()
	value := func(ratio float64, retries uint32) *mesh.Outbound {
		r := toA("/", 1)
		r.Policy.Retry = &mesh.Retry{Limit: retries, Budget: &mesh.Budget{Ratio: ratio, TTL: 10 * time.Second}}
		return routed([]mesh.Rule{r}, "10.0.0.1:80")
	}
	first := take(t, tg, source, value(1, 1)).rules[0].retry
	second := take(t, tg, source, value(1, 2)).rules[0].retry
	if second.Own != first.Own || second.Service != first.Service || first.Own == nil || second.Limit != 2 {
		t.Error("a change of the routes made new budgets")
	}
	third := take(t, tg, source, value(2, 2)).rules[0].retry
	if third.Own == second.Own || third.Service != first.Service {
		t.Error("a budget that changed goes on, or the Service's does not")
	}
}

func TestServicesOutliveTheirRules(t *testing.T) {
	o, source := newOutbound(t)
	tg, release, _ := o.targets.get(shopTarget)
	defer release()
	value := func(weight uint32, addrs ...string) *mesh.Outbound {
		return routed([]mesh.Rule{toA("/", weight), toA("/x", 1)}, addrs...)
	}
	first := take(t, tg, source, value(1, "10.0.0.1:80"))
	served := first.rules[0].backends[0].service
	if served != first.rules[1].backends[0].service {
		t.Error("two rules that send to one Service do not share what serves it")
	}
	next := take(t, tg, source, value(2, "10.0.0.1:80"))
	if next == first || next.rules[0].backends[0].service != served {
		t.Error("a new weight threw away what serves the Service")
	}
	same := take(t, tg, source, value(2, "10.0.0.1:80", "10.0.0.2:80"))
	if same != next || served.pool.Len() != 2 {
		t.Error("a new endpoint made the rules be compiled again, or is not there")
	}
}

// TestARequestKeepsItsBackend takes a backend away from a request that has chosen it and waits.
func TestARequestKeepsItsBackend(t *testing.T) {
	o, source := newOutbound(t)
	tg, release, _ := o.targets.get(shopTarget)
	defer release()
	late := toA("/", 1)
	late.Policy.FaultInjection = &mesh.FaultInjection{Delay: time.Minute, DelayPercent: 100,
		Until: time.Now().Add(time.Hour)}
	first := take(t, tg, source, routed([]mesh.Rule{late}, "10.0.0.1:80"))
	served := first.rules[0].backends[0].service

	x := &exchange.Exchange{Conn: &exchange.Conn{Data: tg}, Begun: time.Now()}
	x.Request.SetPart(message.Method, "GET")
	x.Request.SetPart(message.Authority, "cart.shop")
	x.Request.SetPart(message.Path, "/")
	o.Route(x)
	if r := requestOf(x); r.backend == nil || r.endpoint != nil {
		t.Fatal("the request does not wait with a backend and without an endpoint")
	}
	other := routed(nil)
	other.Routes, other.Backends, other.Endpoints = nil, nil,
		[]mesh.Endpoint{{Addr: netip.MustParseAddrPort("10.0.0.9:80")}}
	take(t, tg, source, other)
	if served.pool.Len() != 1 {
		t.Fatal("the endpoints of a are gone while a request is on its way there")
	}
	o.Route(x)
	if ep := requestOf(x).endpoint; ep == nil || ep.Addr.String() != "10.0.0.1:80" {
		t.Errorf("the request goes to %v, want the endpoint of a", ep)
	}
	o.End(x)
	if served.pool.Len() != 0 {
		t.Error("the endpoints of a are kept")
	}
	o.Route(x)
	if ep := requestOf(x).endpoint; ep == nil || ep.Addr.String() != "10.0.0.9:80" {
		t.Errorf("the next request goes to %v, want the Service's own endpoint", ep)
	}
	o.End(x)
}

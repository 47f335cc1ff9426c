package outbound

import (
	"net"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/internal/meshtest"
	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/proxy/env"
	"github.com/tulle-mesh/tulle/proxy/exchange"
	"github.com/tulle-mesh/tulle/proxy/forward"
	"github.com/tulle-mesh/tulle/proxy/message"
	"github.com/tulle-mesh/tulle/proxy/response"
)

// servedBy is the value of a Service with these endpoints.
func servedBy(endpoints ...mesh.Endpoint) *mesh.Outbound {
	return &mesh.Outbound{
		Kind: mesh.ToService, Service: mesh.ServiceRef{Namespace: "shop", Name: "cart", Port: 80},
		Authority: "cart.shop", Endpoints: endpoints,
	}
}

// at is an endpoint without an identity.
func at(addr string) mesh.Endpoint { return mesh.Endpoint{Addr: netip.MustParseAddrPort(addr)} }

// get is a request to the target that the engine has begun.
func get(tg *target) *exchange.Exchange {
	x := &exchange.Exchange{Conn: &exchange.Conn{Data: tg}, Begun: time.Now()}
	x.Request.SetPart(message.Method, "GET")
	x.Request.SetPart(message.Authority, "cart.shop")
	x.Request.SetPart(message.Path, "/")
	return x
}

// TestOnlyAPeersProxySaysUnprocessed asks who may make the proxy send a request again by the field tulle-unprocessed.
// An endpoint in the proxy's own pod has an identity, but no proxy on the way removes the field from its responses.
func TestOnlyAPeersProxySaysUnprocessed(t *testing.T) {
	shop := mesh.ID{TrustDomain: "cluster.local", Namespace: "shop", ServiceAccount: "cart"}
	for name, test := range map[string]struct {
		endpoint mesh.Endpoint
		retried  bool
	}{
		"meshed":          {mesh.Endpoint{Addr: netip.MustParseAddrPort("10.0.0.1:80"), Identity: shop}, true},
		"unmeshed":        {at("10.0.0.1:80"), false},
		"in the same pod": {mesh.Endpoint{Addr: netip.MustParseAddrPort("10.0.0.2:80"), Identity: shop}, false},
	} {
		t.Run(name, func(t *testing.T) {
			o, source := newOutbound(t)
			o.env.Self = env.Self{IPs: []netip.Addr{netip.MustParseAddr("10.0.0.2")}}
			tg, release, _ := o.targets.get(shopTarget)
			defer release()
			take(t, tg, source, servedBy(test.endpoint))
			x := get(tg)
			o.Route(x)
			x.Response.Status = 502
			x.Response.Add(response.UnprocessedField, exchange.DialRefused.String())
			if f := o.Response(x); f.Is() != test.retried {
				t.Errorf("the response is the fault %q; want a fault: %t", f, test.retried)
			}
			o.End(x)
		})
	}
}

// TestAFailedRequestWaitsForAnEndpoint takes a request's only endpoint away while the connection to it fails. The
// request waits, as a new one does.
func TestAFailedRequestWaitsForAnEndpoint(t *testing.T) {
	for name, f := range map[string]exchange.Fault{
		"connection refused": {Side: exchange.Upstream, Kind: exchange.DialRefused, SafeToResend: true},
		"endpoint withdrawn": {Side: exchange.Proxy, Kind: exchange.Refused, Reason: "endpoint_gone", SafeToResend: true},
		"server refused":     {Side: exchange.Upstream, Kind: exchange.Refused, SafeToResend: true},
	} {
		t.Run(name, func(t *testing.T) {
			o, source := newOutbound(t)
			tg, release, _ := o.targets.get(shopTarget)
			defer release()
			take(t, tg, source, servedBy(at("10.0.0.1:80")))
			x := get(tg)
			o.Route(x)
			x.Attempts, x.Sent = 1, time.Now()
			take(t, tg, source, servedBy())
			if got := o.OnFault(x, f); !reflect.DeepEqual(got, forward.WaitForEndpoint()) {
				t.Fatalf("got the action %+v with status %d, want a wait for an endpoint", got, x.Response.Status)
			}
			take(t, tg, source, servedBy(at("10.0.0.2:80")))
			o.Route(x)
			if ep := requestOf(x).endpoint; ep == nil || ep.Addr.String() != "10.0.0.2:80" {
				t.Errorf("after the wait the request goes to %v, want the new endpoint", ep)
			}
			o.End(x)
		})
	}
}

// TestAFailedConnectionWaitsForAnEndpoint takes an opaque connection's only endpoint away during the handshake with it.
func TestAFailedConnectionWaitsForAnEndpoint(t *testing.T) {
	o, source := newOutbound(t)
	shop := mesh.ID{TrustDomain: "cluster.local", Namespace: "shop", ServiceAccount: "cart"}
	o.env.Certs = meshtest.NewCA(t).Certs(shop)
	o.env.Times.Handshake, o.env.Times.FailFast = 10*time.Second, time.Millisecond
	server, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	tg, release, _ := o.targets.get(shopTarget)
	defer release()
	defer tg.close()
	addr := server.Addr().(*net.TCPAddr).AddrPort()
	rt := take(t, tg, source, servedBy(mesh.Endpoint{Addr: addr, Identity: shop}))
	gone := make(chan error)
	go func() {
		c, err := server.Accept()
		if err == nil {
			source.cell.Store(servedBy())
			tg.refresh()
			err = c.Close()
		}
		gone <- err
	}()
	_, _, _, f := o.connect(t.Context(), tg, o.matchOpaque(tg, rt, nil))
	if err := <-gone; err != nil {
		t.Fatal(err)
	}
	if f.Kind != exchange.NoEndpoint {
		t.Errorf("the connection ends with %q; it must wait for an endpoint first", f)
	}
}

// TestATimeoutWhileConnectingIsTheEndpointsFault lets a bound of the rule pass before the connection was made. Then the
// endpoint is in back-off, as after the connect timeout: many requests have shorter bounds.
func TestATimeoutWhileConnectingIsTheEndpointsFault(t *testing.T) {
	for name, test := range map[string]struct {
		reason               string
		connecting, deadline bool
		available            int
	}{
		"attempt timeout, no connection": {reason: exchange.AttemptTimeout, connecting: true, available: 0},
		"attempt timeout, no response":   {reason: exchange.AttemptTimeout, available: 1},
		"request timeout, no connection": {reason: exchange.RequestTimeout, connecting: true, available: 0},
		"request timeout, no response":   {reason: exchange.RequestTimeout, available: 1},
		"the caller's deadline":          {reason: exchange.RequestTimeout, connecting: true, deadline: true, available: 1},
	} {
		t.Run(name, func(t *testing.T) {
			o, source := newOutbound(t)
			tg, release, _ := o.targets.get(shopTarget)
			defer release()
			take(t, tg, source, servedBy(at("10.0.0.1:80")))
			x := get(tg)
			o.Route(x)
			x.Attempts, x.Sent, x.Connecting = 3, time.Now(), test.connecting
			requestOf(x).callerDeadline = test.deadline
			o.OnFault(x, exchange.Fault{Side: exchange.Proxy, Kind: exchange.Timeout, Reason: test.reason})
			if got := tg.ownService.pool.Available(o.env.Now()); got != test.available {
				t.Errorf("%d endpoints are not in back-off, want %d", got, test.available)
			}
			o.End(x)
		})
	}
}

// TestAnAddressThatChangesHandsIsCountedUnderItsOwner gives an address to one Service after another, with the same
// endpoint. Each counts what is sent to it.
func TestAnAddressThatChangesHandsIsCountedUnderItsOwner(t *testing.T) {
	o, source := newOutbound(t)
	tg, release, _ := o.targets.get(shopTarget)
	defer release()
	for i, name := range []string{"", "cart", "basket", "cart"} {
		value := servedBy(at(shopTarget.Addr.String()))
		if value.Service.Name = name; name == "" {
			value = &mesh.Outbound{Kind: mesh.Unknown}
		}
		rt := take(t, tg, source, value)
		tg.tcp().Opened.Add(1)
		tg.http().Request()
		tg.ownService.endpoints[shopTarget.Addr].tcp().Opened.Add(1)
		o.matchOpaque(tg, rt, nil).metrics().Pass()
		x := get(tg)
		o.Route(x)
		o.End(x)
		var text strings.Builder
		if err := o.env.Stats.WriteText(&text); err != nil {
			t.Fatal(err)
		}
		if name == "" {
			continue
		}
		for _, series := range []string{
			`tcp_open_total{peer="src",`, `tcp_open_total{peer="dst",`, "request_total{", "request_total{*target_addr=",
			"outbound_http_balancer_queue_requests_total{", "outbound_tcp_balancer_queue_requests_total{",
			`outbound_http_balancer_endpoints{*endpoint_state="ready"`,
			`outbound_tcp_balancer_endpoints{*endpoint_state="ready"`,
		} {
			family, label, _ := strings.Cut(series, "*")
			if !slices.ContainsFunc(strings.Split(text.String(), "\n"), func(line string) bool {
				return strings.HasPrefix(line, family) && strings.Contains(line, label) &&
					(strings.Contains(line, `dst_service="`+name+`"`) || strings.Contains(line, `backend_name="`+name+`"`))
			}) {
				t.Errorf("%d: nothing of %q is counted in %s", i, name, series)
			}
		}
	}
}

// TestTheTargetWithTheLeastToLoseIsForgottenFirst fills the table with addresses that discovery says nothing about, as
// a scan does while the control plane is away. Services that are known must stay.
func TestTheTargetWithTheLeastToLoseIsForgottenFirst(t *testing.T) {
	o, source := newOutbound(t)
	known, release, _ := o.targets.get(shopTarget)
	take(t, known, source, servedBy(at("10.0.0.1:80")))
	release()
	target := func(n int) mesh.Target {
		a := netip.AddrFrom4([4]byte{10, 1, byte(n >> 8), byte(n)})
		return mesh.Target{Addr: netip.AddrPortFrom(a, 80)}
	}
	for n := range maxTargets + 1 {
		_, release, ok := o.targets.get(target(n))
		if !ok {
			t.Fatalf("address %d is refused", n)
		}
		release()
	}
	if o.targets.count() != maxTargets || o.targets.current(shopTarget) == nil {
		t.Error("the Service was forgotten before addresses that nothing is known about")
	}
	for n := range maxTargets + 1 { // now everything is known, and the Service was used before the others
		if other := o.targets.byKey[target(n)]; other != nil {
			other.refresh()
		}
	}
	if _, _, ok := o.targets.get(target(maxTargets + 1)); !ok || o.targets.current(shopTarget) != nil {
		t.Error("the least recently used target was not forgotten")
	}
}

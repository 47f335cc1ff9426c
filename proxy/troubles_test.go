package proxy

import (
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/internal/meshtest"
	"github.com/tulle-mesh/tulle/mesh"
)

// openTroubles adds two proxies whose requests and connections are retried, denied, limited or fail, and the calls.
func (s *shop) openTroubles(t *testing.T) {
	t.Helper()
	var flaky atomic.Uint64
	app := serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/broken") || flaky.Add(1)%2 == 0 {
			w.WriteHeader(http.StatusInternalServerError)
		}
	})
	ca, nobody := meshtest.NewCA(t), unused(t)
	server := mesh.Ref{Group: "policy.linkerd.io", Kind: "Server", Namespace: "shop", Name: "gate"}
	limited := mesh.PortPolicy{Policy: mesh.Deny, Server: server, Routes: []mesh.InboundRoute{
		routed("only", mesh.Match{Path: mesh.PrefixPath, Value: "/only"}, authorize(mesh.AnyClients))}}
	limited.RateLimit = &mesh.RateLimit{Total: 1,
		Ref: mesh.Ref{Group: "policy.linkerd.io", Kind: "HTTPLocalRateLimitPolicy", Namespace: "shop", Name: "gate"}}
	open := mesh.PortPolicy{Policy: mesh.AllUnauthenticated}
	gate := start(t, Config{Local: &Local{Certs: ca.Certs(cart), Admin: anyPort, Inbound: []LocalInbound{
		{Listen: anyPort, AppAddr: netip.MustParseAddrPort(app), Policy: limited},
		{Listen: anyPort, AppAddr: unused(t), Policy: opaque(mesh.PortPolicy{Policy: mesh.Deny, Server: server})},
		{Listen: anyPort, AppAddr: unused(t), Policy: open},
		{Listen: anyPort, AppAddr: unused(t), Policy: opaque(open)},
	}}})
	retried := viaRoutes([]mesh.Rule{ruled("/", mesh.RequestPolicy{Retry: serverErrors(1)})}, backendOf("a", app))
	spent := mesh.RequestPolicy{Retry: serverErrors(1)}
	spent.Retry.Budget = &mesh.Budget{MinPerSecond: 1, TTL: 10 * time.Second}
	calls := viaRoutes([]mesh.Rule{onPrefix("/", weighted("a", 1))}, backendOf("a", app))
	calls.Routes[0].GRPC, calls.Routes[0].Ref.Kind = true, "GRPCRoute"
	plain := toService(app)
	plain.Protocol, plain.Service = mesh.Detect, svc("plain")
	gone := toService(nobody.String())
	gone.Protocol, gone.Service = mesh.Detect, svc("gone")
	caller := newProxy(t, Config{Local: &Local{Certs: ca.Certs(web), Admin: anyPort, Outbound: []LocalOutbound{
		{Listen: anyPort, Value: *retried},
		{Listen: anyPort, Value: *viaRoutes([]mesh.Rule{ruled("/", spent)}, backendOf("a", app))},
		{Listen: anyPort, Value: *calls}, {Listen: anyPort, Value: *plain},
		{Listen: anyPort, Value: *gone}, {Listen: anyPort, Value: *toService(nobody.String())},
	}}})
	caller.env.Times.FailFast = 100 * time.Millisecond
	run(t, caller)
	s.others["gate"], s.others["caller"] = gate, caller
	in, out := gate.Addresses().Local.Inbound, caller.Addresses().Local.Outbound
	for _, c := range []struct {
		to    netip.AddrPort
		http2 bool
		path  string
	}{
		{in[0], false, "/"}, {in[0], false, "/only"}, {in[2], false, "/"},
		{out[0], false, "/"}, {out[0], false, "/broken"}, {out[1], false, "/broken"},
		{out[2], true, "/shop.Cart/Get"}, {out[3], false, "/"}, {out[4], false, "/"},
	} {
		client := client(t, c.to.String(), c.http2)
		s.troubles = append(s.troubles, func() {
			req, err := http.NewRequest("POST", "http://cart.shop"+c.path, nil)
			if err != nil {
				panic(err)
			}
			if c.http2 {
				req.Header.Set("Content-Type", "application/grpc")
			}
			if res, err := client.Do(req); err == nil {
				_, _ = io.Copy(io.Discard, res.Body)
				res.Body.Close()
			}
		})
	}
	for _, to := range []netip.AddrPort{in[1], in[3], out[5]} {
		s.troubles = append(s.troubles, func() {
			if c, err := net.Dial("tcp", to.String()); err == nil {
				_ = c.SetDeadline(time.Now().Add(20 * time.Millisecond)) // the proxy closes later
				_, _ = io.WriteString(c, "x")
				_, _ = io.ReadFull(c, make([]byte, 1))
				c.Close()
			}
		})
	}
}

// unused returns an address on which nothing listens.
func unused(t *testing.T) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).AddrPort()
}

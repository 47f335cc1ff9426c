package proxy

import (
	"net/http"
	"net/netip"
	"strconv"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/internal/meshtest"
	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/proxy/response"
)

// TestDeadlinesGoFromHopToHop looks at what travels between two pods, and who is believed.
func TestDeadlinesGoFromHopToHop(t *testing.T) {
	type fields struct{ deadline, remaining string }
	seen := make(chan fields, 1)
	app := serveHTTP(t, func(_ http.ResponseWriter, r *http.Request) {
		seen <- fields{r.Header.Get(response.DeadlineField), r.Header.Get(response.RemainingField)}
	})
	ca := meshtest.NewCA(t)
	server := start(t, Config{Local: &Local{Certs: ca.Certs(cart), Inbound: []LocalInbound{{
		Listen: anyPort, AppAddr: netip.MustParseAddrPort(app), Policy: mesh.PortPolicy{Policy: mesh.AllUnauthenticated},
	}}}})
	at := server.Addresses().Local.Inbound[0]
	entrance := func(id mesh.ID, limits mesh.Timeouts) string {
		p := start(t, Config{Local: &Local{Certs: ca.Certs(web),
			Outbound: []LocalOutbound{{Listen: anyPort, Value: mesh.Outbound{
				Kind: mesh.ToService, Service: svc("cart"), Authority: "cart.shop.svc.cluster.local:80", Protocol: mesh.HTTP1,
				Policy: mesh.RequestPolicy{Timeouts: limits}, Endpoints: []mesh.Endpoint{{Addr: at, Identity: id}},
			}}}}})
		return p.Addresses().Local.Outbound[0].String()
	}
	bounded, unbounded, plain := entrance(cart, mesh.Timeouts{Request: 5 * time.Second}), entrance(cart, mesh.Timeouts{}),
		entrance(mesh.ID{}, mesh.Timeouts{Request: 5 * time.Second})
	in := func(d time.Duration) string { return strconv.FormatInt(time.Now().Add(d).UnixMilli(), 10) }
	for name, test := range map[string]struct {
		to     string
		header http.Header
		most   time.Duration // that the application gets; 0: no deadline
	}{
		"the rule's timeout": {bounded, nil, 5 * time.Second},
		"an earlier one of the application": {bounded, http.Header{response.DeadlineField: {in(2 * time.Second)}},
			2 * time.Second},
		"a later one of the application": {bounded, http.Header{response.DeadlineField: {in(time.Hour)}},
			5 * time.Second},
		"that of a gRPC call": {unbounded,
			http.Header{"Content-Type": {"application/grpc"}, "Grpc-Timeout": {"1500m"}}, 1500 * time.Millisecond},
		"none":                                      {unbounded, nil, 0},
		"what cannot be read is none":               {unbounded, http.Header{response.DeadlineField: {"tomorrow"}}, 0},
		"a peer without a proxy is not told":        {plain, nil, 0},
		"an application cannot speak for its proxy": {unbounded, http.Header{response.RemainingField: {"1"}}, 0},
		"a stranger is not believed": {at.String(),
			http.Header{response.RemainingField: {"1"}, response.DeadlineField: {in(time.Second)}}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			if got := do(t, client(t, test.to, false), "GET", "http://cart.shop/", test.header); got.status != 200 {
				t.Fatalf("got %d %q", got.status, got.body)
			}
			s := <-seen
			if s.remaining != "" {
				t.Errorf("the application got %s: %s", response.RemainingField, s.remaining)
			}
			ms, _ := strconv.ParseInt(s.deadline, 10, 64)
			left := time.Until(time.UnixMilli(ms))
			if test.most == 0 && s.deadline != "" || test.most > 0 &&
				(left > test.most || left < test.most-1500*time.Millisecond) {
				t.Errorf("the application is given %v (%q), want %v", left, s.deadline, test.most)
			}
		})
	}
}

package proxy

import (
	"net/http"
	"net/netip"
	"strconv"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/internal/meshtest"
	"github.com/tulle-mesh/tulle/mesh"
)

// TestDeadlinesGoFromHopToHop looks at what travels between two pods, and who is believed.
func TestDeadlinesGoFromHopToHop(t *testing.T) {
	type told struct{ deadline, remaining string }
	seen := make(chan told, 1)
	app := serveHTTP(t, func(_ http.ResponseWriter, r *http.Request) {
		seen <- told{r.Header.Get(deadlineField), r.Header.Get(remainingField)}
	})
	ca := meshtest.NewCA(t)
	server := start(t, Config{Local: &Local{Certs: ca.Certs(cart), Inbound: []LocalInbound{{
		Listen: anyPort, App: netip.MustParseAddrPort(app), Policy: mesh.PortPolicy{Policy: mesh.AllUnauthenticated},
	}}}})
	at := server.Addresses().Local.Inbound[0]
	entrance := func(id mesh.ID, limits mesh.Timeouts) string {
		p := start(t, Config{Local: &Local{Certs: ca.Certs(web), Outbound: []LocalOutbound{{Listen: anyPort, Target: mesh.Outbound{
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
		most   time.Duration // that the application is given; 0: it is told of no deadline
	}{
		"the rule's timeout":                        {bounded, nil, 5 * time.Second},
		"an earlier one of the application":         {bounded, http.Header{deadlineField: {in(2 * time.Second)}}, 2 * time.Second},
		"a later one of the application":            {bounded, http.Header{deadlineField: {in(time.Hour)}}, 5 * time.Second},
		"that of a gRPC call":                       {unbounded, http.Header{"Content-Type": {"application/grpc"}, "Grpc-Timeout": {"1500m"}}, 1500 * time.Millisecond},
		"none":                                      {unbounded, nil, 0},
		"what cannot be read is none":               {unbounded, http.Header{deadlineField: {"tomorrow"}}, 0},
		"a peer without a proxy is not told":        {plain, nil, 0},
		"an application cannot speak for its proxy": {unbounded, http.Header{remainingField: {"1"}}, 0},
		"a stranger is not believed":                {at.String(), http.Header{remainingField: {"1"}, deadlineField: {in(time.Second)}}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			if got := do(t, client(t, test.to, false), "GET", "http://cart.shop/", test.header); got.status != 200 {
				t.Fatalf("got %d %q", got.status, got.body)
			}
			s := <-seen
			if s.remaining != "" {
				t.Errorf("the application is told %s: %s", remainingField, s.remaining)
			}
			ms, _ := strconv.ParseInt(s.deadline, 10, 64)
			left := time.Until(time.UnixMilli(ms))
			if test.most == 0 && s.deadline != "" || test.most > 0 && (left > test.most || left < test.most-1500*time.Millisecond) {
				t.Errorf("the application is given %v (%q), want %v", left, s.deadline, test.most)
			}
		})
	}
}

func TestTimeoutsOfCalls(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"1H": time.Hour, "2M": 2 * time.Minute, "3S": 3 * time.Second, "50m": 50 * time.Millisecond, "7u": 7 * time.Microsecond, "99999999n": 99999999,
		"99999999H": 1 << 62, "0S": 0, "": -1, "S": -1, "1": -1, "1s": -1, "-1S": -1, "+1S": -1, "1.5S": -1, "123456789S": -1, " 1S": -1,
	} {
		got, ok := parseGRPCTimeout([]byte(text))
		if !ok {
			got = -1
		}
		if got != want {
			t.Errorf("%q is %v, want %v", text, got, want)
		}
	}
}

func FuzzParseGRPCTimeout(f *testing.F) {
	for _, s := range []string{"1H", "50m", "99999999n", "", "x"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		if d, ok := parseGRPCTimeout(in); ok && (d < 0 || len(in) > 9) {
			t.Errorf("%q is %v", in, d)
		}
	})
}

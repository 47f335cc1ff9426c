package proxy

import (
	"fmt"
	"net/http"
	"net/netip"
	"testing"

	"github.com/tulle-mesh/tulle/mesh"
)

// TestLinkerdCallsAnHTTP1Application sends what Linkerd's proxies send to every pod with a mesh's label: HTTP/1 as
// HTTP/2 in plain text. An application that speaks HTTP/1 alone must get HTTP/1, while real HTTP/2 stays what it is.
func TestLinkerdCallsAnHTTP1Application(t *testing.T) {
	app := serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.Proto, " ", r.RequestURI, " ", r.Header.Values("L5d-Orig-Proto"))
	})
	pd := startPod(t, func(*Config) {})
	pd.plane.SetInbound(&mesh.Inbound{Ports: map[uint16]mesh.PortPolicy{
		netip.MustParseAddrPort(app).Port(): {Policy: mesh.AllUnauthenticated}}})
	pd.awaitPolicy(t, func(a netip.AddrPort) bool {
		return pd.Proxy.inbound.Policy().Port(a.Port()).Server().Name == string(mesh.AllUnauthenticated)
	}, app)
	entrance := pd.inboundTo(app)
	for orig, want := range map[string]string{
		"":                        "HTTP/2.0 /cart []",
		"HTTP/1.1":                "HTTP/1.1 /cart []",
		"HTTP/1.0":                "HTTP/1.0 /cart []",
		"HTTP/1.1; absolute-form": "HTTP/1.1 http://cart.shop/cart []",
	} {
		header := http.Header{}
		if orig != "" {
			header.Set("L5d-Orig-Proto", orig)
		}
		if got := do(t, client(t, entrance, true), "GET", "http://cart.shop/cart", header); got.status != 200 || got.body != want {
			t.Errorf("%q: got %d %q, want %q", orig, got.status, got.body, want)
		}
	}
}

// TestApplicationCannotChooseItsVersion sends the same field from the inside: there it is an application's, and means
// nothing.
func TestApplicationCannotChooseItsVersion(t *testing.T) {
	app := serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.Proto, r.Header.Values("L5d-Orig-Proto"))
	})
	p := startPair(t, pairConfig{app: app})
	got := do(t, client(t, p.addr, true), "GET", "http://cart.shop/", http.Header{"L5d-Orig-Proto": {"HTTP/1.1"}})
	if got.body != "HTTP/2.0[]" {
		t.Errorf("got %q", got.body)
	}
}

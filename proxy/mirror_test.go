package proxy

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/mesh"
)

func mirrorTo(b mesh.WeightedBackend, numerator, denominator uint32) mesh.Filter {
	return mesh.Filter{Mirror: &mesh.Mirror{Backend: b, Numerator: numerator, Denominator: denominator}}
}

// awaitMetric returns once a scrape has the text.
func (pd *pod) awaitMetric(t *testing.T, want string) {
	t.Helper()
	var text string
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); {
		if text = pd.scrape(t); strings.Contains(text, want) {
			return
		}
	}
	var near []string
	for line := range strings.Lines(text) {
		if name, _, _ := strings.Cut(want, "{"); strings.HasPrefix(line, name) {
			near = append(near, line)
		}
	}
	t.Errorf("no %s among\n%s", want, strings.Join(near, ""))
}

// copies is the series of copies to a Service that ended that way.
func copies(backend, port, result, status string, n int) string {
	if status != "" {
		status = `,status_code="` + status + `"`
	}
	return fmt.Sprintf(
		`tulle_mirror_copies_total{parent_group="core",parent_kind="Service",parent_namespace="shop",parent_name="cart",parent_port="80",`+
			`route_group="gateway.networking.k8s.io",route_kind="HTTPRoute",route_namespace="shop",route_name="split",`+
			`backend_group="core",backend_kind="Service",backend_namespace="shop",backend_name="%s",backend_port="%s",result="%s"%s} %d`,
		backend, port, result, status, n)
}

func TestMirrorsGetTheirShare(t *testing.T) {
	pd := startPod(t, nil)
	var whole, half, ofBackend atomic.Int64
	shadow := func(n *atomic.Int64) string {
		return serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
			if r.Host == "cart.shop-shadow" {
				n.Add(1)
			}
			w.WriteHeader(503) // whatever it says
		})
	}
	rule := onPrefix("/", weighted("a", 1, mirrorTo(weighted("third", 1), 1, 4)))
	rule.Filters = []mesh.Filter{mirrorTo(weighted("first", 1), 1, 1), mirrorTo(weighted("second", 1), 50, 100),
		mirrorTo(unresolved(1), 1, 1)}
	pd.plane.SetOutbound(pd.target(clusterIP), viaRoutes([]mesh.Rule{rule}, backendOf("a", echoing(t, "a")),
		backendOf("first", shadow(&whole)), backendOf("second", shadow(&half)), backendOf("third", shadow(&ofBackend))))
	entrance := pd.outboundTo(clusterIP)
	bothVersions(t, func(t *testing.T, http2 bool) {
		c := client(t, entrance, http2)
		for range 100 {
			if got := do(t, c, "POST", "http://cart.shop/x", nil); got.status != 200 || got.body != "a POST cart.shop/x" {
				t.Fatalf("got %d %q", got.status, got.body)
			}
		}
	})
	pd.awaitMetric(t, copies("first", "80", "answered", "503", 200))
	pd.awaitMetric(t, copies("gone", "0", "invalid_backend", "", 200))
	a, b, c := whole.Load(), half.Load(), ofBackend.Load()
	if a != 200 || b < 98 || b > 102 || c < 48 || c > 52 {
		t.Errorf("the mirrors got %d, %d and %d of 200 requests, want all, half and a quarter", a, b, c)
	}
	pd.awaitMetric(t, copies("second", "80", "answered", "503", int(b)))
	pd.awaitMetric(t, copies("third", "80", "answered", "503", int(c)))
	for line := range strings.Lines(pd.scrape(t)) {
		if strings.HasPrefix(line, "response_total") && strings.Contains(line, `status_code="503"`) {
			t.Errorf("copies count as requests of the application: %s", line)
		}
	}
}

// TestMirrorsHarmNobody mirrors to what is broken in every way there is, and asks for a retry as well.
func TestMirrorsHarmNobody(t *testing.T) {
	blocked := make(chan struct{})
	defer close(blocked)
	stuck := listen(t, func(*net.TCPConn) { <-blocked })
	for name, test := range map[string]struct {
		addr, result, status string
	}{
		"nobody listens": {refusing(t), "dial_refused", ""},
		"nobody answers": {serveHTTP(t, func(http.ResponseWriter, *http.Request) { <-blocked }), "timeout", ""},
		"nobody reads":   {stuck, "overloaded", ""},
		"nobody there":   {"", "no_endpoint", ""},
	} {
		t.Run(name, func(t *testing.T) {
			pd := startPod(t, nil)
			var tries atomic.Int64
			app := serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
				n, _ := io.Copy(io.Discard, r.Body)
				if tries.Add(1)%2 == 1 {
					w.WriteHeader(503)
					return
				}
				fmt.Fprint(w, n)
			})
			rule := onPrefix("/", weighted("a", 1))
			rule.Filters = []mesh.Filter{mirrorTo(weighted("b", 1), 1, 1)}
			rule.Policy.Retry = &mesh.Retry{Statuses: []mesh.StatusRange{{First: 500, Last: 599}}, Limit: 1}
			size := 1000
			if name == "nobody reads" {
				rule.Policy.Retry, size = nil, 32<<20
				tries.Store(1)
			} else {
				rule.Policy.Timeouts.Request = 2 * time.Second
			}
			var addrs []string
			if test.addr != "" {
				addrs = []string{test.addr}
			}
			pd.plane.SetOutbound(pd.target(clusterIP),
				viaRoutes([]mesh.Rule{rule}, backendOf("a", app), backendOf("b", addrs...)))
			c := client(t, pd.outboundTo(clusterIP), false)
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			req, _ := http.NewRequestWithContext(ctx, "POST", "http://cart.shop/", strings.NewReader(strings.Repeat("x", size)))
			res, err := c.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(res.Body)
			res.Body.Close()
			if res.StatusCode != 200 || string(body) != fmt.Sprint(size) {
				t.Errorf("got %d %q", res.StatusCode, body)
			}
			pd.awaitMetric(t, copies("b", "80", test.result, test.status, 1))
		})
	}
}

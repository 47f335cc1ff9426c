package proxy

import (
	"io"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/internal/meshtest"
	"github.com/tulle-mesh/tulle/mesh"
)

// chain is a row of pods, each with a proxy and an application that calls the next one's and passes on what that says, with none of the
// headers that came.
type chain struct {
	entrance string
	proxies  []*Proxy
	seen     []atomic.Int64 // requests that each application got
}

// startChain makes a chain of hops calls, each under the same policy. fails says whether the application at a place fails a request by
// itself, before it calls anyone; the last place is the leaf.
func startChain(t *testing.T, hops int, policy mesh.RequestPolicy, serve func(place int, w http.ResponseWriter, r *http.Request) (done bool)) *chain {
	t.Helper()
	ca := meshtest.NewCA(t)
	c := &chain{seen: make([]atomic.Int64, hops+1), proxies: make([]*Proxy, hops+1)}
	next := ""
	for place := hops; place >= 0; place-- {
		id := mesh.ID{TrustDomain: mesh.DefaultTrustDomain, Namespace: "shop", ServiceAccount: "hop" + string(rune('a'+place))}
		local := &Local{Certs: ca.Certs(id)}
		if place > 0 {
			app := c.app(t, place, place == hops, next, serve)
			local.Inbound = []LocalInbound{{
				Listen: anyPort, App: netip.MustParseAddrPort(app), Policy: mesh.PortPolicy{Policy: mesh.AllUnauthenticated},
			}}
		}
		if place < hops {
			// The outbound side needs the address of the next pod, the application that of the outbound side: see app.
			after := c.proxies[place+1]
			local.Outbound = []LocalOutbound{{Listen: anyPort, Target: mesh.Outbound{
				Kind: mesh.ToService, Authority: "next.shop.svc.cluster.local:80", Protocol: mesh.HTTP1, Policy: policy,
				Service:   mesh.ServiceRef{Namespace: "shop", Name: "next", Port: 80},
				Endpoints: []mesh.Endpoint{{Addr: after.Addresses().Local.Inbound[0], Identity: mesh.ID{TrustDomain: mesh.DefaultTrustDomain, Namespace: "shop", ServiceAccount: "hop" + string(rune('a'+place+1))}}},
			}}}
		}
		c.proxies[place] = start(t, Config{Local: local})
	}
	c.entrance = c.proxies[0].Addresses().Local.Outbound[0].String()
	return c
}

// app runs the application at a place.
func (c *chain) app(t *testing.T, place int, leaf bool, _ string, serve func(int, http.ResponseWriter, *http.Request) bool) (addr string) {
	var once sync.Once
	var calls *http.Client
	return serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
		c.seen[place].Add(1)
		if serve(place, w, r) || leaf {
			return
		}
		once.Do(func() {
			calls = client(t, c.proxies[place].Addresses().Local.Outbound[0].String(), false)
			calls.Transport.(*http.Transport).MaxIdleConnsPerHost = 100
		})
		req, err := http.NewRequestWithContext(r.Context(), "GET", "http://next.shop/", http.NoBody)
		if err != nil {
			panic(err)
		}
		if d := r.Header.Get(deadlineField); d != "" && r.Header.Get("X-Forward") != "" {
			req.Header.Set(deadlineField, d)
			req.Header.Set("X-Forward", "deadline")
		}
		res, err := calls.Do(req)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		defer res.Body.Close()
		w.WriteHeader(res.StatusCode)
		_, _ = io.Copy(w, res.Body)
	})
}

// load sends n requests, some at a time, and returns how many succeeded.
func (c *chain) load(t *testing.T, n, atOnce int) (succeeded int) {
	t.Helper()
	cl := client(t, c.entrance, false)
	cl.Transport.(*http.Transport).MaxIdleConnsPerHost = atOnce
	var sent, good atomic.Int64
	var wg sync.WaitGroup
	for range atOnce {
		wg.Go(func() {
			for sent.Add(1) <= int64(n) {
				res, err := cl.Get("http://next.shop/")
				if err != nil {
					t.Error(err)
					return
				}
				_, _ = io.Copy(io.Discard, res.Body)
				res.Body.Close()
				if res.StatusCode == 200 {
					good.Add(1)
				}
			}
		})
	}
	wg.Wait()
	return int(good.Load())
}

// three retries of every server error: as policies multiply, 4^5 requests at the leaf for one of a client.
var threeRetries = mesh.RequestPolicy{Retry: &mesh.Retry{Statuses: []mesh.StatusRange{{First: 500, Last: 599}}, Limit: 3}}

// TestRetriesDoNotMultiplyAlongAChain fails a share of the requests at the end of five calls in a row.
func TestRetriesDoNotMultiplyAlongAChain(t *testing.T) {
	const hops, n = 5, 3000
	for name, test := range map[string]struct {
		failing float64
		every   bool    // application fails that share, not only the leaf
		success float64 // least share
	}{
		"a tenth of the leaf's answers":  {0.1, false, 0.999},
		"a tenth of everybody's answers": {0.1, true, 0.998},
		"half of the leaf's answers":     {0.5, false, 0.5},
		"all of the leaf's answers":      {1, false, 0},
	} {
		t.Run(name, func(t *testing.T) {
			c := startChain(t, hops, threeRetries, func(place int, w http.ResponseWriter, _ *http.Request) bool {
				if (place == hops || test.every) && rand.Float64() < test.failing {
					w.WriteHeader(http.StatusServiceUnavailable)
					return true
				}
				return false
			})
			begun := time.Now()
			good := c.load(t, n, 16)
			rate := float64(n) / time.Since(begun).Seconds()
			amplification := 0.0
			for place := 1; place <= hops; place++ {
				amplification = max(amplification, float64(c.seen[place].Load())/n)
			}
			for place := range c.seen {
				t.Log(place, c.seen[place].Load())
			}
			t.Logf("%d of %d succeeded, amplification %.3f, %.0f requests a second", good, n, amplification, rate)
			// The budgets' reserve of ten retries a second is theirs whatever the load.
			if most := 1.22 + 12/rate; amplification > min(most, 1.3) {
				t.Errorf("an application got %.3f requests for each of the client's, want at most %.2f", amplification, min(most, 1.3))
			}
			if float64(good) < test.success*n {
				t.Errorf("%d of %d succeeded, want %.2f %%", good, n, 100*test.success)
			}
		})
	}
}

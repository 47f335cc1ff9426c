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
	"github.com/tulle-mesh/tulle/proxy/response"
)

// chain is a row of pods, each with a proxy and an application that calls the next one's and passes on what that says,
// with none of the headers that came.
type chain struct {
	entrance string
	proxies  []*Proxy
	seen     []atomic.Int64 // requests that each application got
}

// startChain makes a chain of hops calls, each under the same policy. fails says whether the application at a place
// fails a request by itself, before it calls anyone; the last place is the leaf.
func startChain(t *testing.T, hops int, policy mesh.RequestPolicy,
	serve func(place int, w http.ResponseWriter, r *http.Request) (done bool)) *chain {
	t.Helper()
	ca := meshtest.NewCA(t)
	c := &chain{seen: make([]atomic.Int64, hops+1), proxies: make([]*Proxy, hops+1)}
	next := ""
	for place := hops; place >= 0; place-- {
		id := mesh.ID{TrustDomain: mesh.DefaultTrustDomain, Namespace: "shop", ServiceAccount: "hop" +
			string(rune('a'+place))}
		local := &Local{Certs: ca.Certs(id)}
		if place > 0 {
			app := c.app(t, place, place == hops, next, serve)
			local.Inbound = []LocalInbound{{
				Listen: anyPort, AppAddr: netip.MustParseAddrPort(app), Policy: mesh.PortPolicy{Policy: mesh.AllUnauthenticated},
			}}
		}
		if place < hops {
			// The outbound side needs the address of the next pod, the application that of the outbound side: see app.
			after := c.proxies[place+1]
			local.Outbound = []LocalOutbound{{Listen: anyPort, Value: mesh.Outbound{
				Kind: mesh.ToService, Authority: "next.shop.svc.cluster.local:80", Protocol: mesh.HTTP1, Policy: policy,
				Service: mesh.ServiceRef{Namespace: "shop", Name: "next", Port: 80},
				Endpoints: []mesh.Endpoint{{Addr: after.Addresses().Local.Inbound[0],
					Identity: mesh.ID{TrustDomain: mesh.DefaultTrustDomain, Namespace: "shop", ServiceAccount: "hop" +
						string(rune('a'+place+1))}}},
			}}}
		}
		c.proxies[place] = start(t, Config{Local: local})
	}
	c.entrance = c.proxies[0].Addresses().Local.Outbound[0].String()
	return c
}

// app runs the application at a place.
func (c *chain) app(t *testing.T, place int, leaf bool, _ string,
	serve func(int, http.ResponseWriter, *http.Request) bool) (addr string) {
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
		if d := r.Header.Get(response.DeadlineField); d != "" && r.Header.Get("X-Forward") != "" {
			req.Header.Set(response.DeadlineField, d)
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

// load sends n requests, some at a time, at most rate a second if that is not 0, and returns how many succeeded.
func (c *chain) load(t *testing.T, n, atOnce, rate int) (succeeded int) {
	t.Helper()
	cl := client(t, c.entrance, false)
	cl.Transport.(*http.Transport).MaxIdleConnsPerHost = atOnce
	var good atomic.Int64
	var wg sync.WaitGroup
	turns := make(chan struct{})
	for range atOnce {
		wg.Go(func() {
			for range turns {
				res, err := cl.Get("http://next.shop/")
				if err != nil {
					t.Error(err)
					continue
				}
				_, _ = io.Copy(io.Discard, res.Body)
				res.Body.Close()
				if res.StatusCode == 200 {
					good.Add(1)
				}
			}
		})
	}
	pace := make(<-chan time.Time)
	if rate > 0 {
		ticker := time.NewTicker(time.Second / time.Duration(rate))
		defer ticker.Stop()
		pace = ticker.C
	}
	for range n {
		if rate > 0 {
			<-pace
		}
		turns <- struct{}{}
	}
	close(turns)
	wg.Wait()
	return int(good.Load())
}

// retries of every server error: as policies multiply, three are 4^5 requests at the leaf for one of a client.
func retries(limit uint32) mesh.RequestPolicy {
	return mesh.RequestPolicy{Retry: &mesh.Retry{Statuses: []mesh.StatusRange{{First: 500, Last: 599}}, Limit: limit}}
}

// TestRetriesDoNotMultiplyAlongAChain fails a share of the requests of five calls in a row.
func TestRetriesDoNotMultiplyAlongAChain(t *testing.T) {
	const hops = 5
	for name, test := range map[string]struct {
		failing float64
		every   bool // application fails that share, not only the leaf
		limit   uint32
		n       int
		rate    int     // requests a second; 0: as many as there can be
		success float64 // least share
		most    float64 // amplification
	}{
		// Of a tenth, five retries leave one in a million: what fails nevertheless had no budget, or was taken for passed on.
		"a tenth of the leaf's answers":                        {0.1, false, 5, 2000, 0, 0.999, 1.3},
		"a tenth of everybody's answers":                       {0.1, true, 5, 2000, 0, 0.999, 1.3},
		"a tenth of everybody's answers, fifty times a second": {0.1, true, 5, 300, 50, 0.999, 1.3},
		"a tenth of everybody's answers, ten times a second":   {0.1, true, 5, 60, 10, 0.999, 1.3},
		"half of the leaf's answers":                           {0.5, false, 3, 2000, 0, 0.5, 1.3},
		"all of the leaf's answers":                            {1, false, 3, 2000, 0, 0, 1.3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := startChain(t, hops, retries(test.limit), func(place int, w http.ResponseWriter, _ *http.Request) bool {
				if (place == hops || test.every) && rand.Float64() < test.failing {
					w.WriteHeader(http.StatusServiceUnavailable)
					return true
				}
				return false
			})
			begun := time.Now()
			good := c.load(t, test.n, 16, test.rate)
			rate := float64(test.n) / time.Since(begun).Seconds()
			amplification, before := 0.0, 0.0 // before the leaf
			for place := 1; place <= hops; place++ {
				got := float64(c.seen[place].Load()) / float64(test.n)
				t.Logf("application %d got %.3f requests for each of the client's", place, got)
				if amplification = max(amplification, got); place < hops {
					before = max(before, got)
				}
			}
			t.Logf("%d of %d succeeded, amplification %.3f, %.0f requests a second", good, test.n, amplification, rate)
			most := test.most
			if test.failing > 0.2 { // the budget decides, and its reserve of ten retries a second is there whatever the load
				most = 1.22 + 12/rate
			}
			if amplification > most {
				t.Errorf("an application got %.3f requests for each of the client's, want at most %.2f", amplification, most)
			}
			if !test.every && before > 1.05 {
				t.Errorf("applications that pass failures on got %.3f requests for each of the client's: they were retried again",
					before)
			}
			if float64(good) < test.success*float64(test.n) {
				t.Errorf("%d of %d succeeded, want %.2f %%", good, test.n, 100*test.success)
			}
		})
	}
}

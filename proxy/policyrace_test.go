package proxy

import (
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/mesh"
)

// TestRequestsRaceWithPolicies changes the policy of a port while requests are in flight. A request that begins and
// ends under one policy is decided by that policy. A request that meets a change is allowed or denied; only one that
// goes on for revokeGrace may be reset.
func TestRequestsRaceWithPolicies(t *testing.T) {
	const revokeGrace = 500 * time.Millisecond // of package inbound
	bothVersions(t, func(t *testing.T, http2 bool) {
		app := serveHTTP(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "served") })
		pd := startPod(t, nil)
		var active atomic.Int64 // the number of the policy that is active: odd ones allow; 0 while it changes
		var decided [2]atomic.Int64
		set := func(n int64) {
			active.Store(0)
			policy := mesh.Deny
			if n%2 == 1 {
				policy = mesh.AllUnauthenticated
			}
			pd.plane.SetInbound(&mesh.Inbound{Default: mesh.PortPolicy{Policy: policy}})
			pd.awaitPolicy(t, func(a netip.AddrPort) bool {
				return pd.Proxy.inbound.Policy().Port(a.Port()).Server().Name == string(policy)
			}, app)
			active.Store(n)
		}
		set(1)
		entrance := pd.inboundTo(app)
		var done atomic.Bool
		var requests sync.WaitGroup
		for range 4 {
			c := client(t, entrance, http2)
			requests.Go(func() {
				for !done.Load() {
					before, began := active.Load(), time.Now()
					response, err := c.Get("http://web.shop/")
					after := active.Load()
					if err != nil {
						if took := time.Since(began); took < revokeGrace {
							t.Errorf("failed after %s: %v", took, err)
						}
						continue
					}
					_, _ = io.Copy(io.Discard, response.Body)
					_ = response.Body.Close()
					switch status := response.StatusCode; {
					case status != http.StatusOK && status != http.StatusForbidden:
						t.Errorf("status %d while policies change", status)
					case before != 0 && before == after && (status == http.StatusOK) != (before%2 == 1):
						t.Errorf("status %d under policy %d", status, before)
					case before != 0 && before == after:
						decided[before%2].Add(1)
					}
				}
			})
		}
		for n := int64(2); n < 60; n++ {
			set(n)
			// at least one request under each policy
			for before := decided[n%2].Load(); decided[n%2].Load() == before && !t.Failed(); {
			}
		}
		done.Store(true)
		requests.Wait()
	})
}

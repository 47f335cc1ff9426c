package proxy

import (
	"net/http"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/mesh"
)

// TestAnEndpointIsEjectedAndComesBack lets one pod of three fail, and heal.
func TestAnEndpointIsEjectedAndComesBack(t *testing.T) {
	pd := startPod(t, nil)
	var sick atomic.Bool
	var served atomic.Int64
	sick.Store(true)
	bad := serveHTTP(t, func(w http.ResponseWriter, _ *http.Request) {
		served.Add(1)
		if sick.Load() {
			w.WriteHeader(500)
		}
	})
	good := func() string { // slower than an endpoint is taken to be that nobody has tried: the sick one gets its requests
		return serveHTTP(t, func(http.ResponseWriter, *http.Request) { <-time.After(40 * time.Millisecond) })
	}
	b := backendOf("a", bad, good(), good())
	b.Accrual = &mesh.Accrual{MaxFailures: 3, MinPenalty: 200 * time.Millisecond, MaxPenalty: 400 * time.Millisecond}
	pd.plane.SetOutbound(pd.target(clusterIP), viaRoutes([]mesh.Rule{ruled("/", mesh.RequestPolicy{})}, b))
	c := client(t, pd.outboundTo(clusterIP), false)
	failed := 0
	load := func(d time.Duration) (failures int) {
		for end := time.Now().Add(d); time.Now().Before(end); {
			if do(t, c, "GET", "http://cart.shop/", nil).status == 500 {
				failures++
			}
		}
		return failures
	}
	states := func(ready, pending, ejected int) bool {
		text := pd.scrape(t)
		const labels = `parent_name="cart",parent_port="80",backend_group="core",backend_kind="Service",backend_namespace="shop",backend_name="a",backend_port="80"`
		return countLines(text, "outbound_http_balancer_endpoints", labels+`,endpoint_state="ready"} `+
			strconv.Itoa(ready)) == 1 &&
			countLines(text, "outbound_http_balancer_endpoints", labels+`,endpoint_state="pending"} `+
				strconv.Itoa(pending)) == 1 &&
			countLines(text, "tulle_balancer_endpoints_ejected", labels+`} `+strconv.Itoa(ejected)) == 1
	}
	for deadline := time.Now().Add(10 * time.Second); !states(2, 1, 1); {
		if time.Now().After(deadline) {
			t.Fatal("the endpoint that fails is not ejected")
		}
		failed += load(50 * time.Millisecond)
	}
	if failed > 8 { // three, and one for each probe
		t.Errorf("%d requests failed until the endpoint was ejected", failed)
	}
	if n := load(800 * time.Millisecond); n > 5 { // a probe each 200 ms at most
		t.Errorf("%d requests went to the ejected endpoint in 800 ms", n)
	}
	sick.Store(false)
	for deadline := time.Now().Add(10 * time.Second); !states(3, 0, 0); load(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the endpoint that has healed does not come back")
		}
	}
	before := served.Load()
	for deadline := time.Now().Add(20 * time.Second); served.Load() == before; load(50 * time.Millisecond) {
		if time.Now().After(deadline) { // a slow answer, as on a busy machine, keeps requests away for seconds
			t.Fatal("the endpoint that came back gets nothing")
		}
	}
}

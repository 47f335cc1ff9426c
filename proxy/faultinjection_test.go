package proxy

import (
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/mesh"
)

func TestFaultsOnPurpose(t *testing.T) {
	pd := startPod(t, nil)
	var tries atomic.Int64
	app := serveHTTP(t, func(http.ResponseWriter, *http.Request) { tries.Add(1) })
	faulty := func(path string, f mesh.FaultInjection, retry *mesh.Retry) mesh.Rule {
		if f.Until.IsZero() {
			f.Until = time.Now().Add(time.Hour)
		}
		return ruled(path, mesh.RequestPolicy{FaultInjection: &f, Retry: retry})
	}
	const d = 400 * time.Millisecond
	pd.plane.SetOutbound(pd.target(clusterIP), viaRoutes([]mesh.Rule{
		faulty("/abort", mesh.FaultInjection{AbortStatus: 418, AbortPercent: 100}, nil),
		faulty("/call", mesh.FaultInjection{AbortGRPC: 8, AbortPercent: 100}, nil),
		faulty("/half", mesh.FaultInjection{AbortStatus: 503, AbortPercent: 50}, nil),
		// few enough for the default budget
		faulty("/retried", mesh.FaultInjection{AbortStatus: 503, AbortPercent: 20}, serverErrors(20)),
		faulty("/delay", mesh.FaultInjection{Delay: d, DelayPercent: 100}, nil),
		faulty("/over", mesh.FaultInjection{AbortStatus: 503, AbortPercent: 100, Delay: d, DelayPercent: 100,
			Until: time.Now().Add(-time.Second)}, nil),
	}, backendOf("a", app)))
	entrance := pd.outboundTo(clusterIP)
	bothVersions(t, func(t *testing.T, http2 bool) {
		c := client(t, entrance, http2)
		tries.Store(0)
		got := do(t, c, "GET", "http://cart.shop/abort", nil)
		if s := got.header.Get("Proxy-Status"); got.status != 418 ||
			!strings.Contains(s, "fault injected on purpose until") || tries.Load() != 0 {
			t.Errorf("abort: got %d %q after %d attempts", got.status, s, tries.Load())
		}
		got = do(t, c, "POST", "http://cart.shop/call", http.Header{"Content-Type": {"application/grpc"}})
		if s := got.header.Get("Grpc-Status"); got.status != 200 || s != "8" {
			t.Errorf("abort of a call: got %d, grpc-status %q", got.status, s)
		}
		failed := 0
		for range 200 {
			if do(t, c, "GET", "http://cart.shop/half", nil).status == 503 {
				failed++
			}
		}
		if failed < 60 || failed > 140 {
			t.Errorf("%d of 200 requests failed, want about half", failed)
		}
		for range 5 {
			if got := do(t, c, "GET", "http://cart.shop/retried", nil); got.status != 200 {
				t.Errorf("retried: got %d %q", got.status, got.body)
			}
		}
		begun := time.Now()
		if got := do(t, c, "GET", "http://cart.shop/delay", nil); got.status != 200 || time.Since(begun) < d {
			t.Errorf("delay: got %d after %v", got.status, time.Since(begun))
		}
		if got := do(t, c, "GET", "http://cart.shop/over", nil); got.status != 200 {
			t.Errorf("a fault that is over: got %d", got.status)
		}
	})
	text := pd.scrape(t)
	if countLines(text, "response_total", `error="injected"`) == 0 ||
		countLines(text, "outbound_http_errors_total", `error="injected"`) != 1 {
		t.Error("injected faults are not told from others")
	}
	if countLines(text, "response_total", `classification="failure",error="injected"`) == 0 {
		t.Error("injected faults do not count as failures")
	}
}

// TestAFaultEndsByItself has the control plane away when the fault's time comes.
func TestAFaultEndsByItself(t *testing.T) {
	pd := startPod(t, nil)
	until := time.Now().Add(time.Second)
	policy := mesh.RequestPolicy{FaultInjection: &mesh.FaultInjection{AbortStatus: 503, AbortPercent: 100, Until: until}}
	pd.plane.SetOutbound(pd.target(clusterIP), viaRoutes([]mesh.Rule{ruled("/", policy)}, backendOf("a", echoing(t, "a"))))
	c := client(t, pd.outboundTo(clusterIP), false)
	if got := do(t, c, "GET", "http://cart.shop/", nil); got.status != 503 && time.Now().Before(until) {
		t.Errorf("got %d before the fault's end", got.status)
	}
	pd.plane.Stop()
	for deadline := until.Add(5 * time.Second); ; {
		got, now := do(t, c, "GET", "http://cart.shop/", nil), time.Now()
		if got.status == 200 {
			if now.Before(until) {
				t.Errorf("the fault ended %v early", until.Sub(now))
			}
			return
		}
		if now.After(deadline) {
			t.Fatalf("got %d after the fault's end", got.status)
		}
	}
}

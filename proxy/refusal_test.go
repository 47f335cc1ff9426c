package proxy

import (
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/tulle-mesh/tulle/internal/testapp"
	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/proxy/retry"
)

// serveRefusals runs a server that refuses all requests, or those of the first time that it is asked for so long,
// although it sets no limit.
func serveRefusals(t *testing.T, forSoLong time.Duration, asked *atomic.Int64) (addr string) {
	var begun atomic.Pointer[time.Time]
	return testapp.Requests(t, func(_ int, f *testapp.Frames, head *http2.MetaHeadersFrame) {
		now := time.Now()
		begun.CompareAndSwap(nil, &now)
		asked.Add(1)
		if now.Sub(*begun.Load()) < forSoLong {
			f.Reset(head.StreamID, http2.ErrCodeRefusedStream)
			return
		}
		f.OK(head.StreamID)
	})
}

// TestRefusedRequestsWaitForTheServer asks a server that is busy for a moment: no request fails.
func TestRefusedRequestsWaitForTheServer(t *testing.T) {
	var asked atomic.Int64
	const busy = 300 * time.Millisecond
	for way, entrance := range map[string]func() string{
		"between meshed pods": func() string {
			return startPair(t, pairConfig{app: serveRefusals(t, busy, &asked), protocol: mesh.HTTP2}).addr
		},
		"between two proxies without mesh TLS": func() string {
			return startPair(t, pairConfig{app: serveRefusals(t, busy, &asked), protocol: mesh.HTTP2, plain: true}).addr
		},
		"to a pod without a proxy": func() string {
			app := serveRefusals(t, busy, &asked)
			pd := startPod(t, nil)
			pd.plane.SetOutbound(pd.target(clusterIP),
				viaRoutes([]mesh.Rule{ruled("/", mesh.RequestPolicy{})}, backendOf("a", app)))
			return pd.outboundTo(clusterIP)
		},
	} {
		t.Run(way, func(t *testing.T) {
			c := client(t, entrance(), true)
			var wg sync.WaitGroup
			for i := range 50 {
				wg.Go(func() {
					if got := send(t, c, fmt.Sprint("/", i), "hello", http.Header{}); got.status != 200 {
						t.Errorf("request %d: %d %s", i, got.status, got.header.Get("L5d-Proxy-Error"))
					}
				})
			}
			wg.Wait()
		})
	}
}

// TestEndlessRefusalIsAnswered asks a server that refuses everything.
func TestEndlessRefusalIsAnswered(t *testing.T) {
	var asked atomic.Int64
	app := serveRefusals(t, time.Hour, &asked)
	pd := startPod(t, nil)
	pd.plane.SetOutbound(pd.target(clusterIP),
		viaRoutes([]mesh.Rule{ruled("/", mesh.RequestPolicy{})}, backendOf("a", app)))
	got := send(t, client(t, pd.outboundTo(clusterIP), true), "/", "hello", http.Header{})
	const want = 1 + 2 + retry.RefusalWaits // before SETTINGS came, at once, and with a pause before each
	if n := asked.Load(); got.status != 503 || n != want {
		t.Errorf("got %d after %d attempts, want 503 after %d", got.status, n, want)
	}
}

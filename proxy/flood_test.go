package proxy

import (
	"io"
	"net"
	"net/http"
	"net/netip"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
	"golang.org/x/net/http2"

	"github.com/tulle-mesh/tulle/internal/testapp"
	"github.com/tulle-mesh/tulle/mesh"
)

// TestEndOfAFloodedConnectionIsLoggedAndCounted floods the inbound proxy from its application's side and from a
// client's.
func TestEndOfAFloodedConnectionIsLoggedAndCounted(t *testing.T) {
	flood := func(fr *http2.Framer) {
		for range 20_000 {
			if fr.WritePing(false, [8]byte{}) != nil {
				return
			}
		}
	}
	app := testapp.Requests(t, func(_ int, f *testapp.Frames, _ *http2.MetaHeadersFrame) {
		f.Do(func() { flood(f.Framer) })
	})
	for kind, do := range map[string]func(t *testing.T, entrance string){
		"unmeshed_server": func(t *testing.T, entrance string) {
			if got := do(t, client(t, entrance, true), http.MethodPost, "http://a/", nil); got.status != 502 {
				t.Errorf("got %d, want 502", got.status)
			}
		},
		"unmeshed_client": func(t *testing.T, entrance string) {
			c, err := net.Dial("tcp", entrance)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			_ = c.SetDeadline(time.Now().Add(20 * time.Second))
			_, _ = io.WriteString(c, http2.ClientPreface)
			fr := http2.NewFramer(c, nil)
			_ = fr.WriteSettings()
			go flood(fr)
			_, _ = io.Copy(io.Discard, c)
		},
	} {
		t.Run(kind, func(t *testing.T) {
			core, logged := observer.New(zapcore.InfoLevel)
			p := newProxy(t, Config{Log: zap.New(core), Local: &Local{Inbound: []LocalInbound{{
				Listen: anyPort, AppAddr: netip.MustParseAddrPort(app), Policy: mesh.PortPolicy{Policy: mesh.AllUnauthenticated},
			}}}})
			run(t, p)
			do(t, p.Addresses().Local.Inbound[0].String())
			counted := sum(t, p, "tulle_http2_connections_ended_total", `direction="inbound"`, `peer_kind="`+kind+`"`,
				`error="flood"`, `reason="control_flood"`)
			if counted != 1 {
				t.Errorf("counted %v times, want once", counted)
			}
			lines := logged.FilterMessage("HTTP/2 connection ended").All()
			if len(lines) != 1 || lines[0].ContextMap()["reason"] != "control_flood" ||
				lines[0].ContextMap()["peerKind"] != kind {
				t.Errorf("logged %v, want one line", lines)
			}
		})
	}
}

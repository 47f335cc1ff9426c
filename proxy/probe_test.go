package proxy

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/tulle-mesh/tulle/internal/testapp"
	"github.com/tulle-mesh/tulle/mesh"
)

// TestGRPCProbeOnNewConnections is what a kubelet does: a connection for each health check, whose request and body come
// at once.
func TestGRPCProbeOnNewConnections(t *testing.T) {
	app := grpc.NewServer()
	healthpb.RegisterHealthServer(app, health.NewServer())
	addr := testapp.ServeGRPC(t, app)
	server := start(t, Config{Local: &Local{Inbound: []LocalInbound{{
		Listen: anyPort, AppAddr: netip.MustParseAddrPort(addr), Policy: mesh.PortPolicy{Policy: mesh.AllUnauthenticated},
	}}}})
	entrance := server.Addresses().Local.Inbound[0].String()
	for i := range 50 {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		conn, err := grpc.NewClient("passthrough:///"+entrance, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			t.Fatal(err)
		}
		_, err = healthpb.NewHealthClient(conn).Check(ctx, &healthpb.HealthCheckRequest{})
		cancel()
		_ = conn.Close()
		if err != nil {
			t.Fatalf("probe %d: %v", i, err)
		}
	}
}

// TestTCPProbeOfALockedPortIsNoDenial connects and leaves without a byte, as the kubelet does for a tcpSocket probe,
// and as others do.
func TestTCPProbeOfALockedPortIsNoDenial(t *testing.T) {
	g := startGuarded(t)
	dialer := func(from netip.Addr) *net.Dialer {
		return &net.Dialer{Timeout: 10 * time.Second, LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0))}
	}
	leave := func(from netip.Addr) (ended error) {
		c, err := dialer(from).Dial("tcp", g.tcp.String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if err := c.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		_, ended = c.Read(make([]byte, 1))
		return ended
	}
	const denials = "inbound_tcp_authz_deny_total{"
	routed := guarding("/", authorize(mesh.AnyClients))
	for name, policy := range map[string]mesh.PortPolicy{
		"an opaque port": opaque(only()), "a port without a declared protocol": only(),
		"an opaque port with routes": opaque(routed),
	} {
		g.set(t, policy)
		if err := leave(nodeAddr); !errors.Is(err, io.EOF) {
			t.Errorf("%s, a probe: got %v", name, err)
		}
		if text := g.metrics(t); strings.Contains(text, denials) || strings.Contains(text, "inbound_tcp_errors_total{") {
			t.Fatalf("%s: a probe counts as denied, or as an error:\n%s", name, text)
		}
	}
	g.set(t, opaque(only()))
	if err := leave(otherAddr); !isReset(err) {
		t.Errorf("from elsewhere: got %v", err)
	}
	if got := tryTCP(t, dialer(nodeAddr), g.tcp.String()); got != "reset" {
		t.Errorf("bytes from the node: got %s", got)
	}
	if text := g.metrics(t); !strings.Contains(text, `reason="denied"} 2`) {
		t.Errorf("no two denials:\n%s", text)
	}
	g.set(t, opaque(only(authorize(mesh.AnyClients))))
	if err := leave(nodeAddr); !errors.Is(err, io.EOF) {
		t.Errorf("to an open port: got %v", err)
	}
	if text := g.metrics(t); !strings.Contains(text, "inbound_tcp_authz_allow_total{") {
		t.Error("a connection to an open port was not forwarded")
	}
}

// TestAProbeIsExactlyTheKubelets sends what differs from a probe in its body, or asks for a tunnel, from the node.
func TestAProbeIsExactlyTheKubelets(t *testing.T) {
	g := startGuarded(t)
	g.set(t, probing(only()))
	for name, tc := range map[string]struct {
		raw  string
		want string
	}{
		"a probe": {"GET /healthz HTTP/1.1\r\nHost: a\r\nUser-Agent: kube-probe/1.36\r\nConnection: close\r\n\r\n",
			"200"},
		"an empty body": {"GET /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", "200"},
		"a body":        {"GET /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx", "403"},
		"a body in chunks": {
			"GET /healthz HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n1\r\nx\r\n0\r\n\r\n",
			"403"},
		"a WebSocket": {"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
			"403"},
		"a HEAD":             {"HEAD /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "403"},
		"an absolute target": {"GET http://a/healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "200"},
	} {
		d := &net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(nodeAddr, 0))}
		c, err := d.Dial("tcp", g.http.String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(c, tc.raw); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len("HTTP/1.1 200"))
		if _, err := io.ReadFull(c, got); err != nil || !strings.HasSuffix(string(got), tc.want) {
			t.Errorf("%s: got %q, %v, want %s", name, got, err, tc.want)
		}
	}
}

// TestARedirectedProbeIsLogged has an application that sends the kubelet elsewhere within the pod: what it asks for
// there is no probe.
func TestARedirectedProbeIsLogged(t *testing.T) {
	app := serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/healthz/", http.StatusMovedPermanently)
	})
	core, logged := observer.New(zapcore.InfoLevel)
	p := newProxy(t, Config{
		Log: zap.New(core),
		Pod: Pod{HostIPs: []netip.Addr{netip.MustParseAddr("127.0.0.1")}},
		Local: &Local{Inbound: []LocalInbound{{
			Listen: anyPort, AppAddr: netip.MustParseAddrPort(app), Policy: probing(only()),
		}}},
	})
	run(t, p)
	entrance := p.Addresses().Local.Inbound[0].String()
	for path, want := range map[string]int{"/healthz": 301, "/healthz/": 403} {
		if got, _ := exchangeRaw(t, entrance, "GET "+path+" HTTP/1.1\r\nHost: a\r\n\r\n", 1); got[0] != want {
			t.Errorf("%s: got %d, want %d", path, got[0], want)
		}
	}
	lines := logged.FilterMessage("kubelet's probe was redirected").All()
	if len(lines) != 1 || lines[0].ContextMap()["path"] != "/healthz" || lines[0].ContextMap()["location"] != "/healthz/" {
		t.Errorf("got %v", lines)
	}
}

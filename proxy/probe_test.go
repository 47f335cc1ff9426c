package proxy

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/tulle-mesh/tulle/mesh"
)

// TestGRPCProbeOnNewConnections is what a kubelet does: a connection for each health check, whose request and body come at once.
func TestGRPCProbeOnNewConnections(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	app := grpc.NewServer()
	healthpb.RegisterHealthServer(app, health.NewServer())
	served := make(chan struct{})
	go func() { defer close(served); _ = app.Serve(l) }()
	t.Cleanup(func() { app.Stop(); <-served })
	server := start(t, Config{Local: &Local{Inbound: []LocalInbound{{
		Listen: anyPort, App: netip.MustParseAddrPort(l.Addr().String()), Policy: mesh.PortPolicy{Policy: mesh.AllUnauthenticated},
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

// TestTCPProbeOfALockedPortIsNoDenial connects and leaves without a byte, as the kubelet does for a tcpSocket probe, and as others do.
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
		"an opaque port": opaque(only()), "a port without a declared protocol": only(), "an opaque port with routes": opaque(routed),
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

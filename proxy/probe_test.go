package proxy

import (
	"context"
	"net"
	"net/netip"
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

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
)

// A service that gets SIGTERM accepts connections for a while longer, because its callers learn of it a moment later.
// Then requests in flight have some time to end.
const (
	farewell = 2 * time.Second
	grace    = 5 * time.Second
)

// serveHTTP serves until ctx ends, then lets requests in flight finish. /healthz answers 200.
func serveHTTP(ctx context.Context, addr string, mux *http.ServeMux) error {
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	server := &http.Server{Addr: addr, Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serve %s: %w", addr, err)
		}
		return nil
	})
	group.Go(func() error {
		<-ctx.Done()
		time.Sleep(farewell)
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
		defer cancel()
		return server.Shutdown(end)
	})
	return group.Wait()
}

// serveGRPC serves what register adds, and the health service, until ctx ends.
func serveGRPC(ctx context.Context, addr string, register func(*grpc.Server)) error {
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return fmt.Errorf("serve %s: %w", addr, err)
	}
	server := grpc.NewServer()
	register(server)
	grpc_health_v1.RegisterHealthServer(server, health.NewServer())
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return server.Serve(listener) })
	group.Go(func() error {
		<-ctx.Done()
		time.Sleep(farewell)
		hard := time.AfterFunc(grace, server.Stop)
		defer hard.Stop()
		server.GracefulStop()
		return nil
	})
	return group.Wait()
}

// dialGRPC connects in plain text: securing the way is the mesh's part.
func dialGRPC(target string) (*grpc.ClientConn, error) {
	conn, err := grpc.NewClient(target, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", target, err)
	}
	return conn, nil
}

// podName is the name of the pod, which Kubernetes gives as host name.
func podName() string {
	name, err := os.Hostname()
	if err != nil {
		return "unknown"
	}
	return name
}

package main

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/interop"
	testpb "google.golang.org/grpc/interop/grpc_testing"
)

// serveCells opens ports in threes, so that a test can give each three a policy of their own: the n-th cell has HTTP on
// 8100+n, gRPC on 9100+n and a TCP echo on 6100+n.
func serveCells(ctx context.Context, group *errgroup.Group, n int, handler http.Handler) {
	calls := grpc.NewServer()
	testpb.RegisterTestServiceServer(calls, interop.NewTestServer())
	for i := range n {
		group.Go(func() error { return serveHTTP(ctx, fmt.Sprintf(":%d", 8100+i), handler, nil, 0) })
		group.Go(func() error { return serveHTTP(ctx, fmt.Sprintf(":%d", 9100+i), calls, nil, 0) })
		group.Go(func() error { return serveTCP(ctx, fmt.Sprintf(":%d", 6100+i), echo) })
	}
}

// dropInterval is the time between two bytes of a stream or a conversation that tells when it was cut.
const dropInterval = 20 * time.Millisecond

// answerDrops writes a byte at each interval until the client is gone.
func answerDrops(w http.ResponseWriter, r *http.Request) {
	tick := time.NewTicker(dropInterval)
	defer tick.Stop()
	for {
		select {
		case <-r.Context().Done():
			return
		case <-tick.C:
		}
		if _, err := w.Write([]byte{'.'}); err != nil || http.NewResponseController(w).Flush() != nil {
			return
		}
	}
}

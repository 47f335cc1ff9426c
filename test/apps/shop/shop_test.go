package main

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/tulle-mesh/tulle/test/apps/shop/pb"
)

func TestFaultsAreAnExactShareAtAnyCount(t *testing.T) {
	for _, share := range []float64{0, 0.1, 0.25, 1} {
		f := faults{share: share}
		failed := 0
		for n := 1; n <= 1000; n++ {
			if f.next() {
				failed++
			}
			if want := int(float64(n) * share); failed != want {
				t.Fatalf("share %v: %d of %d calls failed, want %d", share, failed, n, want)
			}
		}
	}
}

// serve runs a gRPC service on a free port of loopback for the time of a test.
func serve(t *testing.T, register func(*grpc.Server)) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	register(server)
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Stop()
		<-done
	})
	return listener.Addr().String()
}

func catalogClient(t *testing.T) pb.CatalogClient {
	t.Helper()
	conn, err := dialGRPC(serve(t, func(s *grpc.Server) { pb.RegisterCatalogServer(s, &catalog{pod: "catalog-0"}) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return pb.NewCatalogClient(conn)
}

func TestFrontEndListsTheCatalogAndPassesFailuresOn(t *testing.T) {
	bank := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, "no: "+r.URL.Query().Get("customer"), http.StatusInternalServerError)
	}))
	defer bank.Close()
	w := &web{catalog: catalogClient(t), checkout: bank.URL, client: bank.Client()}
	for _, tc := range []struct {
		name, method, path, body string
		status                   int
	}{
		{"list", http.MethodGet, "/", `"id":"tulle"`, http.StatusOK},
		{"failed payment", http.MethodPost, "/checkout?customer=7", "no: 7", http.StatusInternalServerError},
		{"unknown page", http.MethodGet, "/nothing", "404", http.StatusNotFound},
	} {
		t.Run(tc.name, func(t *testing.T) {
			out := httptest.NewRecorder()
			w.mux().ServeHTTP(out, httptest.NewRequest(tc.method, tc.path, nil))
			if out.Code != tc.status || !strings.Contains(out.Body.String(), tc.body) {
				t.Errorf("got %d %q, want %d %q", out.Code, out.Body, tc.status, tc.body)
			}
		})
	}
}

func TestRestockSeesEveryChange(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if got, err := follow(ctx, catalogClient(t), 5); got != 5 || err != nil {
		t.Errorf("got %d, %v, want 5 changes", got, err)
	}
}

func TestLoadCountsWhatItsCustomersSee(t *testing.T) {
	shop := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/checkout" {
			http.Error(w, "no", http.StatusInternalServerError)
		}
	}))
	defer shop.Close()
	l := &load{web: shop.URL, client: shop.Client()}
	for n := range 20 {
		counter, method, path := l.next(n)
		counter.count(l.request(t.Context(), method, path))
	}
	for name, tc := range map[string]struct {
		t          *counter
		ok, failed uint64
	}{
		"list": {&l.list, 12, 0}, "cart": {&l.add, 4, 0}, "checkout": {&l.pay, 0, 4},
	} {
		if ok, failed := tc.t.ok.Load(), tc.t.failed.Load(); ok != tc.ok || failed != tc.failed {
			t.Errorf("%s: got %d ok and %d failed, want %d and %d", name, ok, failed, tc.ok, tc.failed)
		}
	}
}

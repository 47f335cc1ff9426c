package proxy

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/tulle-mesh/tulle/internal/testapp"
	"github.com/tulle-mesh/tulle/mesh"
)

// chatty is a gRPC server that says as much in its heads and trailers as a method's name asks for.
func chatty(t *testing.T) (addr string) {
	t.Helper()
	return testapp.GRPC(t, func(s grpc.ServerStream) error {
		method, _ := grpc.MethodFromServerStream(s)
		large := metadata.Pairs("x-large", strings.Repeat("v", 300<<10))
		many := metadata.MD{}
		for i := range 300 {
			many.Set(fmt.Sprintf("x-%d", i), strings.Repeat("v", 1<<10))
		}
		switch method {
		case "/t.T/echo":
			for {
				var m healthpb.HealthCheckRequest
				if err := s.RecvMsg(&m); err != nil {
					return nil
				}
				if err := s.SendMsg(&m); err != nil {
					return err
				}
			}
		case "/t.T/large-head":
			return s.SendHeader(large)
		case "/t.T/large-trailer":
			_ = s.SendMsg(&healthpb.HealthCheckRequest{})
			s.SetTrailer(large)
		case "/t.T/many-trailers":
			_ = s.SendMsg(&healthpb.HealthCheckRequest{})
			s.SetTrailer(many)
		case "/t.T/large-trailer-alone":
			s.SetTrailer(large)
			return status.Error(codes.NotFound, "the caller never hears this")
		case "/t.T/huge-trailer":
			s.SetTrailer(metadata.Pairs("x-large", strings.Repeat("v", 3<<20)))
		}
		return nil
	})
}

// invoke sends one message and returns how the call ended.
func invoke(ctx context.Context, conn *grpc.ClientConn, method string) error {
	s, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, method)
	if err != nil {
		return err
	}
	if err := s.SendMsg(&healthpb.HealthCheckRequest{}); err != nil && err != io.EOF {
		return err
	}
	if err := s.CloseSend(); err != nil {
		return err
	}
	for {
		if err := s.RecvMsg(&healthpb.HealthCheckRequest{}); err != nil {
			return err
		}
	}
}

// TestLargeHeadsFailTheirCallAlone: without a mesh, grpc-go takes heads of 16 MiB. Here they have a limit, which costs
// one call.
func TestLargeHeadsFailTheirCallAlone(t *testing.T) {
	many := metadata.MD{}
	for i := range 100 {
		many.Set(fmt.Sprintf("x-%d", i), strings.Repeat("v", 1<<10))
	}
	for name, c := range map[string]struct {
		method string
		sent   metadata.MD
		code   codes.Code
		metric string
	}{
		"response head of 300 KB": {"/t.T/large-head", nil, codes.Internal,
			`error="response_too_large",reason="head_too_large"`},
		"trailer of 300 KB": {"/t.T/large-trailer", nil, codes.Internal,
			`error="response_too_large",reason="trailers_too_large"`},
		"trailers of 300 KB": {"/t.T/many-trailers", nil, codes.Internal,
			`error="response_too_large",reason="trailers_too_large"`},
		"trailers of 300 KB alone": {"/t.T/large-trailer-alone", nil, codes.Internal,
			`error="response_too_large",reason="head_too_large"`},
		"metadata of 70 KB in one field": {"/t.T/echo", metadata.Pairs("x", strings.Repeat("v", 70<<10)),
			codes.ResourceExhausted, `error="head_too_large",reason="head_too_large"`},
		"metadata of 300 KB in one field": {"/t.T/echo", metadata.Pairs("x", strings.Repeat("v", 300<<10)),
			codes.ResourceExhausted, `error="head_too_large",reason="head_too_large"`},
		"metadata of 100 KB in many fields": {"/t.T/echo", many, codes.ResourceExhausted,
			`error="head_too_large",reason="head_too_large"`},
	} {
		for _, plain := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, plain %v", name, plain), func(t *testing.T) {
				p := startPair(t, pairConfig{app: chatty(t), plain: plain})
				conn := testapp.Dial(t, p.addr)
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				// The bystanders share every connection with the call, and live.
				var bystanders []grpc.ClientStream
				echo := func() {
					for _, s := range bystanders {
						if err := s.SendMsg(&healthpb.HealthCheckRequest{Service: "x"}); err != nil {
							t.Fatal(err)
						}
						var got healthpb.HealthCheckRequest
						if err := s.RecvMsg(&got); err != nil || got.Service != "x" {
							t.Fatalf("a bystander got %q, %v", got.Service, err)
						}
					}
				}
				for range 4 {
					s, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, "/t.T/echo")
					if err != nil {
						t.Fatal(err)
					}
					bystanders = append(bystanders, s)
				}
				echo()
				for range 3 { // the tables are in step afterwards
					err := invoke(metadata.NewOutgoingContext(ctx, c.sent), conn, c.method)
					if status.Code(err) != c.code {
						t.Errorf("got %v, want %v", err, c.code)
					}
					echo()
				}
				if text := scrapeText(p.client) + scrapeText(p.server); !strings.Contains(text, "_http_errors_total{") ||
					!strings.Contains(text, c.metric) {
					t.Errorf("no counter with %s", c.metric)
				}
			})
		}
	}
}

func TestHeadFarTooLargeEndsTheConnection(t *testing.T) {
	p := startPair(t, pairConfig{app: chatty(t)})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	conn := testapp.Dial(t, p.addr)
	if err := invoke(ctx, conn, "/t.T/huge-trailer"); err == io.EOF || status.Code(err) == codes.DeadlineExceeded {
		t.Errorf("got %v, want an error", err)
	}
	if err := invoke(ctx, conn, "/t.T/echo"); err != io.EOF {
		t.Errorf("the next call: %v", err)
	}
}

func TestHeaderListSizeCanBeSet(t *testing.T) {
	app := chatty(t)
	ca := configured(t, app, 512<<10)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for _, method := range []string{"/t.T/large-head", "/t.T/large-trailer", "/t.T/many-trailers"} {
		if err := invoke(ctx, testapp.Dial(t, ca), method); err != io.EOF {
			t.Errorf("%s: got %v, want success", method, err)
		}
	}
}

// TestLargeHeadsOfHTTP: where the response has not begun, a client is answered; afterwards it sees that it is not
// complete.
func TestLargeHeadsOfHTTP(t *testing.T) {
	app := serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/head":
			w.Header().Set("X-Large", strings.Repeat("v", 300<<10))
		case "/trailer":
			w.Header().Set("Trailer", "X-Large")
			_, _ = io.WriteString(w, "begun")
			w.(http.Flusher).Flush()
			w.Header().Set("X-Large", strings.Repeat("v", 300<<10))
		}
	})
	bothVersions(t, func(t *testing.T, http2 bool) {
		for _, plain := range []bool{false, true} {
			p := startPair(t, pairConfig{app: app, plain: plain})
			c := client(t, p.addr, http2)
			if got := do(t, c, "GET", "http://cart.shop/", http.Header{"X-Large": {strings.Repeat("v", 300<<10)}}); got.status != 431 {
				t.Errorf("plain %v: large request head: got %d, want 431", plain, got.status)
			}
			if got := do(t, c, "GET", "http://cart.shop/head", nil); got.status != 502 || !strings.Contains(got.body, "too large") {
				t.Errorf("plain %v: large response head: got %d %q, want 502", plain, got.status, got.body)
			}
			res, err := c.Get("http://cart.shop/trailer")
			if err == nil { // else nothing had reached the client when the trailers came
				got, readErr := io.ReadAll(res.Body)
				res.Body.Close()
				if err = readErr; err == nil && res.StatusCode != 502 {
					t.Errorf("plain %v: large trailers: got %d %q, want an error", plain, res.StatusCode, got)
				}
			}
			if got := do(t, c, "GET", "http://cart.shop/", nil); got.status != 200 {
				t.Errorf("plain %v: the next request: %d", plain, got.status)
			}
		}
	})
}

// configured runs an inbound proxy with a limit in front of app.
func configured(t *testing.T, app string, limit int) (entrance string) {
	t.Helper()
	p := start(t, Config{
		Settings: mesh.ProxyConfig{MaxHeaderListBytes: limit},
		Local: &Local{Inbound: []LocalInbound{{
			Listen: anyPort, AppAddr: netip.MustParseAddrPort(app), Policy: mesh.PortPolicy{Policy: mesh.AllUnauthenticated},
		}}},
	})
	return p.Addresses().Local.Inbound[0].String()
}

func scrapeText(p *Proxy) string {
	var b strings.Builder
	_ = p.env.Stats.WriteText(&b)
	return b.String()
}

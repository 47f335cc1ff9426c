package proxy

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/tulle-mesh/tulle/internal/testapp"
	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/proxy/message"
	"github.com/tulle-mesh/tulle/proxy/response"
)

// TestResetBeforeTheResponseHead resets every call with each code of RFC 9113 §7. Source of the gRPC statuses: gRPC
// over HTTP/2, "Errors".
func TestResetBeforeTheResponseHead(t *testing.T) {
	want := map[http2.ErrCode]codes.Code{
		http2.ErrCodeNo: codes.Internal, http2.ErrCodeProtocol: codes.Internal, http2.ErrCodeInternal: codes.Internal,
		http2.ErrCodeFlowControl: codes.Internal, http2.ErrCodeSettingsTimeout: codes.Internal,
		http2.ErrCodeStreamClosed: codes.Internal,
		http2.ErrCodeFrameSize:    codes.Internal, http2.ErrCodeRefusedStream: codes.Unavailable,
		http2.ErrCodeCancel:      codes.Canceled,
		http2.ErrCodeCompression: codes.Internal, http2.ErrCodeConnect: codes.Internal,
		http2.ErrCodeEnhanceYourCalm:    codes.ResourceExhausted,
		http2.ErrCodeInadequateSecurity: codes.PermissionDenied, http2.ErrCodeHTTP11Required: codes.Internal,
		99: codes.Internal,
	}
	var code atomic.Uint32
	var asked atomic.Int64
	app := testapp.Requests(t, func(_ int, f *testapp.Frames, head *http2.MetaHeadersFrame) {
		asked.Add(1)
		f.Reset(head.StreamID, http2.ErrCode(code.Load()))
	})
	for way, plain := range map[string]bool{"between meshed pods": false, "between two proxies without mesh TLS": true} {
		t.Run(way, func(t *testing.T) {
			p := startPair(t, pairConfig{app: app, protocol: mesh.HTTP2, plain: plain})
			calls, requests := testapp.Dial(t, p.addr), client(t, p.addr, true)
			for c, want := range want {
				code.Store(uint32(c))
				asked.Store(0)
				ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
				err := calls.Invoke(ctx, "/shop.Cart/Get", &emptypb.Empty{}, &emptypb.Empty{})
				cancel()
				if got := status.Code(err); got != want {
					t.Errorf("gRPC, %v: got %v, want %v", c, err, want)
				}
				if n := asked.Load(); n != 1 && c != http2.ErrCodeRefusedStream {
					t.Errorf("gRPC, %v: the application was asked %d times", c, n)
				}
				wantHTTP := 502
				if c == http2.ErrCodeRefusedStream {
					wantHTTP = 503
				}
				if got := do(t, requests, "GET", "http://cart.shop/", nil); got.status != wantHTTP {
					t.Errorf("HTTP, %v: got %d, want %d", c, got.status, wantHTTP)
				}
			}
		})
	}
}

// TestCancelledCallsAreNotRetried resets calls under a policy that retries server errors and UNAVAILABLE.
func TestCancelledCallsAreNotRetried(t *testing.T) {
	for name, test := range map[string]struct {
		code  http2.ErrCode
		grpc  bool
		tries int64
	}{
		"a call that was cancelled":         {http2.ErrCodeCancel, true, 1},
		"a call that failed inside":         {http2.ErrCodeInternal, true, 1},
		"a call that the policy covers":     {http2.ErrCodeEnhanceYourCalm, true, 2},
		"a request is answered 502, so yes": {http2.ErrCodeCancel, false, 2},
	} {
		t.Run(name, func(t *testing.T) {
			var tries atomic.Int64
			app := testapp.Requests(t, func(_ int, f *testapp.Frames, head *http2.MetaHeadersFrame) {
				tries.Add(1)
				f.Reset(head.StreamID, test.code)
			})
			pd := startPod(t, nil)
			policy := &mesh.Retry{Statuses: []mesh.StatusRange{{First: 500, Last: 599}}, GRPC: 1<<14 | 1<<8, Limit: 1}
			pd.plane.SetOutbound(pd.target(clusterIP),
				viaRoutes([]mesh.Rule{ruled("/", mesh.RequestPolicy{Retry: policy})}, backendOf("a", app)))
			header := http.Header{}
			if test.grpc {
				header.Set("Content-Type", "application/grpc")
			}
			send(t, client(t, pd.outboundTo(clusterIP), true), "/", "hello", header)
			if got := tries.Load(); got != test.tries {
				t.Errorf("%d attempts, want %d", got, test.tries)
			}
		})
	}
}

// TestDeadlineOfACallIsNeverUnavailable lets deadlines pass through both proxies, as the client's, the proxies' and the
// server's clocks strike in any order. A server of grpc-go resets the stream with CANCEL then.
func TestDeadlineOfACallIsNeverUnavailable(t *testing.T) {
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	server := testapp.GRPC(t, func(s grpc.ServerStream) error {
		method, _ := grpc.MethodFromServerStream(s)
		if method == "/shop.Cart/Deaf" {
			<-release
		}
		<-s.Context().Done()
		return s.Context().Err()
	})
	timed := testapp.Requests(t, func(_ int, f *testapp.Frames, head *http2.MetaHeadersFrame) {
		id := head.StreamID
		for _, field := range head.RegularFields() {
			if field.Name == "grpc-timeout" {
				var one message.Head
				one.Add(field.Name, field.Value)
				d, _ := response.TakeDeadline(&one, true)
				time.AfterFunc(d, func() { f.Reset(id, http2.ErrCodeCancel) })
			}
		}
	})
	for name, app := range map[string]string{"grpc-go": server, "a server that resets": timed} {
		for way, plain := range map[string]bool{"between meshed pods": false, "between two proxies without mesh TLS": true} {
			t.Run(name+"/"+way, func(t *testing.T) {
				p := startPair(t, pairConfig{app: app, protocol: mesh.HTTP2, plain: plain})
				calls, requests := testapp.Dial(t, p.addr), client(t, p.addr, true)
				var wg sync.WaitGroup
				for i := range 40 {
					method := [...]string{"/shop.Cart/Get", "/shop.Cart/Deaf"}[i%2]
					wg.Go(func() { // a client that watches its deadline itself
						ctx, cancel := context.WithTimeout(t.Context(), 150*time.Millisecond)
						defer cancel()
						err := calls.Invoke(ctx, method, &emptypb.Empty{}, &emptypb.Empty{})
						if c := status.Code(err); c != codes.DeadlineExceeded {
							t.Errorf("%s: %v", method, err)
						}
					})
					wg.Go(func() { // one that leaves it to others
						req, _ := http.NewRequest("POST", "http://cart.shop"+method, bytes.NewReader(make([]byte, 5)))
						req.Header = http.Header{"Content-Type": {"application/grpc"}, "Te": {"trailers"}, "Grpc-Timeout": {"150m"}}
						res, err := requests.Do(req)
						if err != nil {
							t.Error(err)
							return
						}
						_, _ = io.Copy(io.Discard, res.Body)
						_ = res.Body.Close()
						got := res.Header.Get("Grpc-Status") + res.Trailer.Get("Grpc-Status")
						if got != strconv.Itoa(int(codes.DeadlineExceeded)) && got != strconv.Itoa(int(codes.Canceled)) {
							t.Errorf("%s: grpc-status %q, %v", method, got, res.Header)
						}
					})
				}
				wg.Wait()
			})
		}
	}
}

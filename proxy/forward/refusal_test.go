package forward

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/tulle-mesh/tulle/internal/testapp"
	"github.com/tulle-mesh/tulle/proxy/exchange"
	"github.com/tulle-mesh/tulle/proxy/replay"
)

// burst sends requests over new connections, perConn at a time on each.
func burst(t *testing.T, conns, perConn, requests int, once func(conn, i int) error) {
	t.Helper()
	var wg sync.WaitGroup
	var next, failed atomic.Int64
	for conn := range conns {
		for range perConn {
			wg.Go(func() {
				for i := int(next.Add(1)); i <= requests; i = int(next.Add(1)) {
					if err := once(conn, i); err != nil && failed.Add(1) < 5 {
						t.Error(err)
					}
				}
			})
		}
	}
	wg.Wait()
	if n := failed.Load(); n > 0 {
		t.Errorf("%d of %d requests failed", n, requests)
	}
}

// A server of grpc-go refuses the streams beyond its limit from the first one on. The engine's handler answers every
// fault, so that what succeeds here needs no other attempt.
func TestBurstOnServersWithFewStreams(t *testing.T) {
	for _, limit := range []uint32{1, 2, 100} {
		for _, p := range pairs {
			if !p.http2 {
				continue
			}
			for _, size := range []int{10, 100_000} { // within and beyond what is kept
				t.Run(fmt.Sprintf("%s/limit %d/%d bytes", p.name, limit, size), func(t *testing.T) {
					var open, most atomic.Int64
					app := testapp.GRPC(t, func(s grpc.ServerStream) error {
						n := open.Add(1)
						defer open.Add(-1)
						for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
						}
						in := &wrapperspb.StringValue{}
						if err := s.RecvMsg(in); err != nil {
							return err
						}
						return s.SendMsg(in)
					}, grpc.MaxConcurrentStreams(limit))
					r := build(t, true, p.meshed, app, Config{})
					var clients []*grpc.ClientConn
					for range 10 {
						clients = append(clients, testapp.Dial(t, r.first.addr))
					}
					requests, perConn := 2000, 100
					if size > replay.Limit {
						requests, perConn = 200, 10 // so many fit into what the engine queues
					}
					message := strings.Repeat("x", size)
					burst(t, 10, perConn, requests, func(conn, _ int) error {
						ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
						defer cancel()
						out := &wrapperspb.StringValue{}
						err := clients[conn].Invoke(ctx, "/burst/Unary", wrapperspb.String(message), out)
						if err == nil && out.Value != message {
							err = fmt.Errorf("got %d bytes", len(out.Value))
						}
						return err
					})
					t.Logf("%d at once", most.Load())
					r.holdsNothing(t)
				})
			}
		}
	}
}

// post sends a request with a body through the way.
func (r *route) post() error {
	resp, err := r.client.Post(r.url, "text/plain", strings.NewReader("hello"))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != 200 {
		return fmt.Errorf("got %d %s", resp.StatusCode, resp.Header.Get("X-Fault"))
	}
	return nil
}

// No body and no more than a hundred streams leave before the server's SETTINGS, and no other connection is made.
func TestStreamsBeforeSettings(t *testing.T) {
	const requests = 240
	conns := make(chan *testapp.Frames, 100)
	done := make(chan struct{})
	defer close(done)
	app := testapp.HTTP2(t, func(_ int, s *testapp.Frames) {
		conns <- s
		<-done
	})
	r := build(t, true, false, app, Config{})
	var wg sync.WaitGroup
	for range requests {
		wg.Go(func() {
			if err := r.post(); err != nil {
				t.Error(err)
			}
		})
	}
	defer wg.Wait()
	s := <-conns
	r.first.eventually(t, "all requests came", func() bool { return r.first.e.inFlight == requests })
	r.first.e.mu.Lock()
	u := r.first.h.to.Load()
	if n := len(u.shared[0].streams); n != firstStreams || u.waiting.Len() != requests-firstStreams || u.open != 1 {
		t.Errorf(
			"%d streams, %d wait, %d connections; want %d, %d and 1",
			n,
			u.waiting.Len(),
			u.open,
			firstStreams,
			requests-firstStreams,
		)
	}
	r.first.e.mu.Unlock()
	for heads := 0; heads < firstStreams; {
		f, err := s.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		switch f.(type) {
		case *http2.MetaHeadersFrame:
			heads++
		case *http2.DataFrame:
			t.Fatal("a body before SETTINGS")
		}
	}
	_ = s.WriteSettings(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 1000})
	for range requests {
		id, ok := s.Request()
		if !ok {
			t.Fatal("the connection ended")
		}
		s.OK(id)
	}
}

func TestServerWithoutSettingsIsGivenUp(t *testing.T) {
	app := rawApp(t, func(_ int, c net.Conn, br *bufio.Reader) { _, _ = io.Copy(io.Discard, br) })
	r := build(t, true, false, app, Config{HeadTimeout: 50 * time.Millisecond})
	resp, err := r.client.Get(r.url)
	if got := readBody(t, resp, err); resp.StatusCode != 502 || got != "lost" {
		t.Errorf("got %d %q", resp.StatusCode, got)
	}
}

// What a server refuses waits for another stream, on this connection or the next.
func TestRefusedRequestsWait(t *testing.T) {
	limit := func(n uint32) http2.Setting {
		return http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: n}
	}
	for name, serve := range map[string]func(n int, s *testapp.Frames){
		"a limit of one, told late": func(_ int, s *testapp.Frames) {
			s.Do(func() { _ = s.WriteSettings(limit(1)) })
			busy := false
			for {
				f, err := s.ReadFrame()
				if err != nil {
					return
				}
				switch h := f.Header(); {
				case h.Type == http2.FrameHeaders && busy:
					s.Reset(h.StreamID, http2.ErrCodeRefusedStream)
				case h.Type == http2.FrameHeaders:
					busy = true
				case h.Type == http2.FrameData && h.Flags.Has(http2.FlagDataEndStream) && busy:
					s.OK(h.StreamID)
					busy = false
				}
			}
		},
		"a limit that sinks": func(_ int, s *testapp.Frames) {
			s.Do(func() { _ = s.WriteSettings(limit(100)) })
			for n, lowered, acks := 0, false, 0; ; {
				f, err := s.ReadFrame()
				if err != nil {
					return
				}
				switch h := f.Header(); {
				case h.Type == http2.FrameSettings && h.Flags.Has(http2.FlagSettingsAck):
					acks++
				case h.Type == http2.FrameData && lowered && acks < 2:
					s.Reset(h.StreamID, http2.ErrCodeRefusedStream)
				case h.Type == http2.FrameData:
					if n++; n == 20 {
						s.Do(func() { _ = s.WriteSettings(limit(2)) })
						lowered = true
					}
					s.OK(h.StreamID)
				}
			}
		},
		// nginx does so after keepalive_requests
		"GOAWAY after ten requests, in the middle of more": func(_ int, s *testapp.Frames) {
			s.Do(func() { _ = s.WriteSettings(limit(100)) })
			var last uint32
			for range 10 {
				id, ok := s.Request()
				if !ok {
					return
				}
				last = max(last, id)
				s.OK(id)
			}
			s.Do(func() { _ = s.WriteGoAway(last, http2.ErrCodeNo, nil) })
			for id, ok := s.Request(); ok; id, ok = s.Request() {
				if id < last {
					s.OK(id)
				}
			}
		},
		"GOAWAY at once, on the first connections": func(n int, s *testapp.Frames) {
			s.Do(func() { _ = s.WriteSettings(limit(100)) })
			for {
				id, ok := s.Request()
				if !ok {
					return
				}
				if n < 2 {
					s.Do(func() { _ = s.WriteGoAway(0, http2.ErrCodeNo, nil) })
					continue
				}
				s.OK(id)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := build(t, true, false, testapp.HTTP2(t, serve), Config{})
			burst(t, 1, 20, 200, func(int, int) error { return r.post() })
			r.holdsNothing(t)
		})
	}
}

// A server that refuses everything must not make the engine send the same request without end.
func TestRefusalsOfOneRequestAreBounded(t *testing.T) {
	var asked atomic.Int64
	app := testapp.HTTP2(t, func(_ int, s *testapp.Frames) {
		s.Do(func() { _ = s.WriteSettings() })
		for _, ok := s.Request(); ok; _, ok = s.Request() {
			asked.Add(1)
			s.Do(func() { _ = s.WriteGoAway(0, http2.ErrCodeNo, nil) })
		}
	})
	r := build(t, true, false, app, Config{})
	r.first.onFault(func(x *exchange.Exchange, f exchange.Fault) Action {
		if f.Kind != exchange.Refused || !f.SafeToResend {
			t.Errorf("got %v", f)
		}
		x.Response.Status = http.StatusServiceUnavailable
		return Reply(nil)
	})
	if err := r.post(); err == nil || asked.Load() != maxRefusals+1 {
		t.Errorf("%v after %d requests, want %d", err, asked.Load(), maxRefusals+1)
	}
	r.holdsNothing(t)
}

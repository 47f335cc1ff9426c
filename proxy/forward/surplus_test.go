package forward

import (
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/tulle-mesh/tulle/internal/testapp"
	"github.com/tulle-mesh/tulle/proxy/exchange"
)

func streamLimit(n uint32) http2.Setting {
	return http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: n}
}

// heads reads until n requests have begun.
func heads(s *testapp.Frames, n int) (last uint32, ok bool) {
	for n > 0 {
		f, err := s.ReadFrame()
		if err != nil {
			return 0, false
		}
		if h, ok := f.(*http2.MetaHeadersFrame); ok {
			last = h.StreamID
			n--
		}
	}
	return last, true
}

// A server need not refuse the streams beyond a limit that it has just told: RFC 9113 §6.5.2 lets it complete them, and
// Netty does.
func TestStreamsThatAreNotRefusedSendTheirBodies(t *testing.T) {
	for name, later := range map[string][]http2.Setting{
		"the limit rises":       {streamLimit(100)},
		"the limit stays":       nil,
		"the limit sinks again": {streamLimit(1), streamLimit(0)},
	} {
		t.Run(name, func(t *testing.T) {
			app := testapp.HTTP2(t, func(_ int, s *testapp.Frames) {
				if _, ok := heads(s, 2); !ok {
					return
				}
				_ = s.WriteSettings(streamLimit(1))
				for _, l := range later {
					_ = s.WriteSettings(l)
				}
				first, ok := s.Request()
				if !ok {
					return
				}
				second, ok := s.Request() // both bodies come, though neither has an answer
				if !ok {
					return
				}
				s.OK(first)
				s.OK(second)
				_, _ = io.Copy(io.Discard, s.Conn)
			})
			r := build(t, true, false, app, Config{})
			r.client.Timeout = time.Minute
			burst(t, 1, 2, 2, func(int, int) error { return r.post() })
			r.holdsNothing(t)
		})
	}
}

// REFUSED_STREAM says that the server did not process the request. A client must not get it for another server's
// fault later.
func TestRefusalIsForgottenWhenTheRequestIsSentAgain(t *testing.T) {
	broken := make(chan struct{})
	app := testapp.HTTP2(t, func(n int, s *testapp.Frames) {
		if n == 0 {
			last, ok := heads(s, 2)
			if !ok {
				return
			}
			_ = s.WriteSettings(streamLimit(1))
			_ = s.WriteRSTStream(last, http2.ErrCodeRefusedStream)
			first, _ := s.Request()
			<-broken // meanwhile the other request goes out on the next connection
			s.OK(first)
			_, _ = io.Copy(io.Discard, s.Conn)
			return
		}
		_ = s.WriteSettings(streamLimit(1))
		id, ok := s.Request()
		if !ok {
			return
		}
		s.Head(id, false)
		_ = s.WriteData(id, false, []byte("half an answ"))
		close(broken)
		_ = s.Conn.(*net.TCPConn).CloseWrite()
		_, _ = io.Copy(io.Discard, s.Conn)
	})
	r := build(t, true, false, app, Config{})
	r.client.Timeout = time.Minute
	var wg sync.WaitGroup
	errs := make(chan error, 2)
	for range 2 {
		wg.Go(func() {
			resp, err := r.client.Post(r.url, "text/plain", strings.NewReader("hello"))
			if err == nil {
				defer resp.Body.Close()
				_, err = io.Copy(io.Discard, resp.Body)
			}
			errs <- err
		})
	}
	wg.Wait()
	if err := errors.Join(<-errs, <-errs); err == nil || !strings.Contains(err.Error(), "INTERNAL_ERROR") {
		t.Errorf("the answer that broke ended with %v, want an error that does not ask for the request again", err)
	}
}

// A server that allows no stream, and on which none will become free, must not hold requests without a deadline for
// ever.
func TestServerThatAllowsNoStreamFailsFast(t *testing.T) {
	for name, serve := range map[string]func(s *testapp.Frames){
		"from the beginning": func(s *testapp.Frames) {
			_ = s.WriteSettings(streamLimit(0))
			for {
				id, ok := heads(s, 1)
				if !ok {
					return
				}
				_ = s.WriteRSTStream(id, http2.ErrCodeRefusedStream)
			}
		},
		"by GOAWAY": func(s *testapp.Frames) {
			_ = s.WriteSettings(streamLimit(0))
			if _, ok := heads(s, 1); ok {
				_ = s.WriteGoAway(0, http2.ErrCodeNo, nil)
			}
			_, _ = io.Copy(io.Discard, s.Conn)
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := build(
				t,
				true,
				false,
				testapp.HTTP2(t, func(_ int, s *testapp.Frames) { serve(s) }),
				Config{EndpointTimeout: 50 * time.Millisecond},
			)
			r.client.Timeout = time.Minute
			faults := make(chan exchange.Fault, 10)
			r.first.onFault(func(x *exchange.Exchange, f exchange.Fault) Action {
				faults <- f
				x.Response.Status = http.StatusGatewayTimeout
				return Reply(nil)
			})
			for range 3 {
				if err := r.post(); err != nil && !strings.HasPrefix(err.Error(), "got 504") {
					t.Fatal(err)
				}
			}
			if f := <-faults; f.Kind != exchange.DialTimeout || f.Reason != "no_streams" || !f.SafeToResend {
				t.Errorf("got %v", f)
			}
			r.holdsNothing(t)
		})
	}
}

// A tunnel has a connection of its own between proxies, also after a refusal: it may live for days and carry anything.
func TestRefusedTunnelKeepsItsOwnConnection(t *testing.T) {
	type opened struct {
		conn   int
		method string
	}
	seen := make(chan opened, 10)
	app := testapp.HTTP2(t, func(n int, s *testapp.Frames) {
		_ = s.WriteSettings()
		for {
			f, err := s.ReadFrame()
			if err != nil {
				return
			}
			h, ok := f.(*http2.MetaHeadersFrame)
			if !ok {
				continue
			}
			method := "GET"
			if !h.StreamEnded() {
				method = "CONNECT"
			}
			seen <- opened{n, method}
			switch {
			case n == 0:
				_ = s.WriteGoAway(0, http2.ErrCodeNo, nil)
			default:
				s.Head(h.StreamID, method == "GET")
			}
		}
	})
	h := &fixed{}
	p := start(t, HTTP1, Config{}, h, nil)
	u := p.e.NewUpstream(UpstreamConfig{Protocol: Mux, Dial: dialTo(app)})
	h.to.Store(u)
	p.onFault(func(*exchange.Exchange, exchange.Fault) Action { return Forward(u) })
	r := &route{first: p}
	ask := func(text string) {
		c, br := r.connect(t)
		t.Cleanup(func() { c.Close() })
		send(t, c, text)
		if resp, err := http.ReadResponse(br, &http.Request{Method: strings.Fields(text)[0]}); err != nil ||
			resp.StatusCode != 200 {
			t.Fatalf("%v, %v", resp, err)
		}
	}
	ask("CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n")
	ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	refused, tunnel, get := <-seen, <-seen, <-seen
	if refused.conn != 0 || tunnel.conn == get.conn || tunnel.method != "CONNECT" || get.method != "GET" {
		t.Errorf("the tunnel went out on connections %v and %v, the request on %v", refused, tunnel, get)
	}
}

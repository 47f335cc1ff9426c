package forward

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/proxy/exchange"
	"github.com/tulle-mesh/tulle/proxy/replay"
)

// rejected is the fault of an attempt whose response is not wanted.
var rejected = exchange.Fault{Side: exchange.Upstream, Kind: exchange.Rejected}

// retrying makes the first proxy of a way send again what fails, at most limit times, and keep bodies for it. delay is
// waited before.
func retrying(r *route, limit int, delay time.Duration) {
	r.first.onRoute(func(x *exchange.Exchange) { x.BufferBody = true })
	r.first.onResponse(func(x *exchange.Exchange) exchange.Fault {
		if x.Response.Status == 503 && x.Attempts <= limit && x.CannotResend == "" {
			return rejected
		}
		if x.CannotResend != "" {
			x.Response.Set("x-cannot-resend", x.CannotResend)
		}
		return exchange.Fault{}
	})
	r.first.onFault(func(x *exchange.Exchange, f exchange.Fault) Action {
		if x.Attempts <= limit && x.CannotResend == "" {
			if delay > 0 {
				return Delay(delay)
			}
			return Forward(r.first.h.to.Load())
		}
		x.Response.Status = 502
		x.Response.Set("x-fault", f.Kind.String()+"/"+f.Reason)
		x.Response.Set("x-cannot-resend", x.CannotResend)
		return Reply([]byte(f.Kind.String()))
	})
}

// flaky fails the first requests in a way of its own, after it read the body; then it answers with the body's hash.
func flaky(failures int64, fail func(w http.ResponseWriter)) (http.Handler, *atomic.Int64) {
	var seen atomic.Int64
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := sha256.New()
		n, err := io.Copy(h, r.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		if seen.Add(1) <= failures {
			fail(w)
			return
		}
		fmt.Fprintf(w, "%d %x %s", n, h.Sum(nil), r.Trailer.Get("X-Sum"))
	}), &seen
}

func hashed(p []byte) string { return fmt.Sprintf("%d %x ", len(p), sha256.Sum256(p)) }

func unavailable(w http.ResponseWriter) {
	w.WriteHeader(http.StatusServiceUnavailable)
	_, _ = io.WriteString(w, strings.Repeat("busy ", 100))
}

func TestRejectedResponsesAreAskedForAgain(t *testing.T) {
	bodies := map[string][]byte{
		"no body":              nil,
		"small":                []byte("hello"),
		"largest that is kept": bytes.Repeat([]byte("x"), replay.Limit),
	}
	for _, p := range pairs {
		for name, sent := range bodies {
			for _, chunked := range []bool{false, true} {
				t.Run(fmt.Sprint(p.name, "/", name, "/chunked=", chunked), func(t *testing.T) {
					h, seen := flaky(2, unavailable)
					r := build(t, p.http2, p.meshed, serveApp(t, h), Config{})
					retrying(r, 3, 0)
					var in io.Reader = bytes.NewReader(sent)
					if chunked {
						in = io.MultiReader(in)
					}
					resp, err := r.client.Post(r.url, "text/plain", in)
					if got := readBody(t, resp, err); got != hashed(sent) || seen.Load() != 3 {
						t.Errorf("got %d %q after %d requests", resp.StatusCode, got, seen.Load())
					}
					r.holdsNothing(t)
				})
			}
		}
	}
}

// holdsNothing checks that no memory of a request stays behind.
func (r *route) holdsNothing(t *testing.T) {
	t.Helper()
	for _, p := range []*proxy{r.first, r.last} {
		deadline := time.Now().Add(5 * time.Second)
		for {
			p.e.mu.Lock()
			inFlight, queued, copied, delayed := p.e.inFlight, p.e.queued, p.e.replays.Used, p.e.delayed.Len()
			p.e.mu.Unlock()
			if inFlight == 0 && queued == 0 && copied == 0 && delayed == 0 {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("%d in flight, %d bytes queued, %d copied, %d delayed", inFlight, queued, copied, delayed)
			}
			runtime.Gosched()
		}
	}
}

func TestTrailersAreSentAgain(t *testing.T) {
	for _, p := range pairs {
		t.Run(p.name, func(t *testing.T) {
			h, _ := flaky(1, unavailable)
			r := build(t, p.http2, p.meshed, serveApp(t, h), Config{})
			retrying(r, 1, 0)
			req, err := http.NewRequest("POST", r.url, io.MultiReader(strings.NewReader("hello")))
			if err != nil {
				t.Fatal(err)
			}
			req.Trailer = http.Header{"X-Sum": {"42"}}
			resp, err := r.client.Do(req)
			if got := readBody(t, resp, err); got != hashed([]byte("hello"))+"42" {
				t.Errorf("got %q", got)
			}
		})
	}
}

// TestBodyThatIsStillComing fails the first attempt while the client has sent a part of its body only.
func TestBodyThatIsStillComing(t *testing.T) {
	for _, p := range pairs {
		t.Run(p.name, func(t *testing.T) {
			var seen atomic.Int64
			failed := make(chan struct{})
			r := build(t, p.http2, p.meshed, serveApp(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_ = http.NewResponseController(w).EnableFullDuplex()
				if seen.Add(1) == 1 {
					_, _ = io.ReadFull(r.Body, make([]byte, 5))
					w.WriteHeader(503)
					w.(http.Flusher).Flush()
					close(failed)
					_, _ = io.Copy(
						io.Discard,
						r.Body,
					) // net/http panics where a handler in full duplex leaves some of it
					return
				}
				all, _ := io.ReadAll(r.Body)
				_, _ = w.Write(all)
			})), Config{})
			retrying(r, 1, 20*time.Millisecond)
			in, out := io.Pipe()
			go func() {
				_, _ = io.WriteString(out, "first")
				<-failed
				_, _ = io.WriteString(out, " second")
				_ = out.Close()
			}()
			resp, err := r.client.Post(r.url, "text/plain", in)
			if got := readBody(t, resp, err); got != "first second" {
				t.Errorf("got %d %q", resp.StatusCode, got)
			}
		})
	}
}

func TestWhatCannotBeSentAgain(t *testing.T) {
	large := bytes.Repeat([]byte("x"), 3*replay.Limit)
	for name, test := range map[string]struct {
		sent   []byte
		replay bool
		cfg    Config
		want   string
	}{
		"nobody asked to keep the body":     {[]byte("hello"), false, Config{}, exchange.NotBuffered},
		"the body is too large":             {large, true, Config{}, exchange.BodyTooLarge},
		"too much is kept already":          {[]byte("hello"), true, Config{MaxReplayBytes: 1}, exchange.BuffersFull},
		"no body, nothing has to be kept":   {nil, false, Config{}, ""},
		"a body within every bound is kept": {[]byte("hello"), true, Config{}, ""},
	} {
		for _, p := range pairs {
			t.Run(name+"/"+p.name, func(t *testing.T) {
				h, seen := flaky(1, unavailable)
				r := build(t, p.http2, p.meshed, serveApp(t, h), test.cfg)
				retrying(r, 1, 0)
				r.first.onRoute(func(x *exchange.Exchange) { x.BufferBody = test.replay })
				resp, err := r.client.Post(r.url, "text/plain", bytes.NewReader(test.sent))
				got := readBody(t, resp, err)
				if test.want == "" {
					if got != hashed(test.sent) {
						t.Errorf("got %d %q", resp.StatusCode, got)
					}
					return
				}
				if resp.StatusCode != 503 || resp.Header.Get("X-Cannot-Resend") != test.want || seen.Load() != 1 {
					t.Errorf("got %d %v after %d requests", resp.StatusCode, resp.Header, seen.Load())
				}
				r.holdsNothing(t)
			})
		}
	}
}

// TestAttemptTimeout hangs the first attempt; the request goes on although the server may have processed it.
func TestAttemptTimeout(t *testing.T) {
	for _, p := range pairs {
		t.Run(p.name, func(t *testing.T) {
			h, _ := flaky(0, nil)
			var seen atomic.Int64
			hangs := make(chan struct{})
			hang := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if seen.Add(1) == 1 {
					_, _ = io.Copy(io.Discard, r.Body)
					close(hangs)
					<-r.Context().Done()
					return
				}
				h.ServeHTTP(w, r)
			})
			r := build(t, p.http2, p.meshed, serveApp(t, hang), Config{})
			retrying(r, 1, 0)
			r.first.onRoute(func(x *exchange.Exchange) { x.BufferBody, x.Timeouts.Attempt = true, 50*time.Millisecond })
			advance := r.first.freeze()
			go func() {
				<-hangs
				advance(time.Second)
				r.first.e.wake.Notify()
			}()
			resp, err := r.client.Post(r.url, "text/plain", strings.NewReader("hello"))
			if got := readBody(t, resp, err); got != hashed([]byte("hello")) {
				t.Errorf("got %d %q %v", resp.StatusCode, got, resp.Header)
			}
			r.holdsNothing(t)
		})
	}
}

func TestAttemptTimeoutIsAnsweredWithoutRetries(t *testing.T) {
	hang := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	r := build(t, false, false, serveApp(t, hang), Config{})
	retrying(r, 0, 0)
	r.first.onRoute(func(x *exchange.Exchange) { x.Timeouts.Attempt = 20 * time.Millisecond })
	resp, err := r.client.Get(r.url)
	readBody(t, resp, err)
	if got := resp.Header.Get("X-Fault"); got != "timeout/attempt" {
		t.Errorf("got %d %q", resp.StatusCode, got)
	}
}

// TestATimeoutSaysWhetherTheRequestWasConnecting ends attempts by a timeout. The handler learns whether the endpoint
// could not be connected to in time, or is connected and slow or busy.
func TestATimeoutSaysWhetherTheRequestWasConnecting(t *testing.T) {
	hang := func(ctx context.Context) (net.Conn, error) { <-ctx.Done(); return nil, ctx.Err() }
	for name, test := range map[string]struct {
		protocol         Protocol
		dial             func(ctx context.Context) (net.Conn, error) // nil: to an application that does not answer
		connect          bool                                        // ask for a tunnel
		busy, connecting bool
	}{
		"HTTP/1, no connection":                 {protocol: HTTP1, dial: hang, connecting: true},
		"HTTP/2, no connection":                 {protocol: HTTP2, dial: hang, connecting: true},
		"mesh, no connection":                   {protocol: Mux, dial: hang, connecting: true},
		"a tunnel in the mesh, no connection":   {protocol: Mux, dial: hang, connect: true, connecting: true},
		"HTTP/1, no response":                   {protocol: HTTP1},
		"HTTP/2, no response":                   {protocol: HTTP2},
		"HTTP/1, the only connection is in use": {protocol: HTTP1, busy: true},
	} {
		t.Run(name, func(t *testing.T) {
			arrived := make(chan struct{}, 2)
			app := serveApp(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				arrived <- struct{}{}
				<-r.Context().Done()
			}))
			r := build(t, false, false, app, Config{})
			if test.dial == nil {
				test.dial = dialTo(app)
			}
			r.first.h.to.Store(r.first.e.NewUpstream(UpstreamConfig{Dial: test.dial, Protocol: test.protocol, MaxConns: 1}))
			if test.busy {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				req, err := http.NewRequestWithContext(ctx, "GET", r.url, nil)
				if err != nil {
					t.Fatal(err)
				}
				go func() {
					if resp, err := r.client.Do(req); err == nil {
						_ = resp.Body.Close()
					}
				}()
				<-arrived
			}
			r.first.onRoute(func(x *exchange.Exchange) { x.Timeouts.Attempt = 150 * time.Millisecond })
			connecting := make(chan bool, 1)
			r.first.onFault(func(x *exchange.Exchange, f exchange.Fault) Action {
				if f.Reason == exchange.AttemptTimeout {
					connecting <- x.Connecting
				}
				x.Response.Status = 504
				return Reply(nil)
			})
			req, err := http.NewRequest("GET", r.url, nil)
			if err != nil {
				t.Fatal(err)
			}
			if test.connect {
				req.Header = http.Header{"Connection": {"Upgrade"}, "Upgrade": {"test"}}
			}
			resp, err := r.client.Do(req)
			readBody(t, resp, err)
			if got := <-connecting; got != test.connecting {
				t.Errorf("connecting is %t, want %t", got, test.connecting)
			}
		})
	}
}

// TestTotalTimeoutEndsRetries bounds a request whose attempts would go on for longer.
func TestTotalTimeoutEndsRetries(t *testing.T) {
	h, _ := flaky(1<<20, unavailable)
	r := build(t, false, false, serveApp(t, h), Config{})
	retrying(r, 10, 30*time.Millisecond)
	r.first.onRoute(func(x *exchange.Exchange) { x.Timeouts.Request = 100 * time.Millisecond })
	resp, err := r.client.Get(r.url)
	readBody(t, resp, err)
	if got := resp.Header.Get("X-Fault"); got != "timeout/total" ||
		resp.Header.Get("X-Cannot-Resend") != exchange.Final {
		t.Errorf("got %d %v", resp.StatusCode, resp.Header)
	}
	r.holdsNothing(t)
}

func TestWaitingIsBounded(t *testing.T) {
	r := build(t, true, false, serveApp(t, app()), Config{MaxWaiting: 1})
	var late atomic.Bool
	r.first.e.mu.Lock()
	r.first.h.reply = func(x *exchange.Exchange) Action {
		if late.Load() {
			x.Response.Status = 204
			return Reply(nil)
		}
		return Delay(time.Hour)
	}
	r.first.e.mu.Unlock()
	first := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, "GET", r.url, nil)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		_, err := r.client.Do(req)
		first <- err
	}()
	for deadline := time.Now().Add(5 * time.Second); ; {
		r.first.e.mu.Lock()
		n := r.first.e.delayed.Len()
		r.first.e.mu.Unlock()
		if n == 1 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the request does not wait")
		}
	}
	resp, err := r.client.Get(r.url)
	if readBody(t, resp, err); resp.Header.Get("X-Fault") != "overloaded/delayed" {
		t.Errorf("got %d %v", resp.StatusCode, resp.Header)
	}
	cancel()
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Errorf("the request that waits ended with %v", err)
	}
	r.holdsNothing(t)
	late.Store(true)
	resp, err = r.client.Get(r.url)
	if readBody(t, resp, err); resp.StatusCode != 204 {
		t.Errorf("got %d", resp.StatusCode)
	}
}

// TestDelayedStart waits before the first attempt, as an injected delay does.
func TestDelayedStart(t *testing.T) {
	for _, p := range pairs {
		t.Run(p.name, func(t *testing.T) {
			r := build(t, p.http2, p.meshed, serveApp(t, app()), Config{})
			var asked atomic.Int64
			r.first.e.mu.Lock()
			r.first.h.reply = func(x *exchange.Exchange) Action {
				if asked.Add(1) == 1 {
					return Delay(50 * time.Millisecond)
				}
				return Forward(r.first.h.to.Load())
			}
			r.first.e.mu.Unlock()
			begun := time.Now()
			resp, err := r.client.Post(r.url+"/echo", "text/plain", strings.NewReader("hello"))
			if got := readBody(t, resp, err); got != "hello" || time.Since(begun) < 50*time.Millisecond ||
				asked.Load() != 2 {
				t.Errorf("got %q after %v, asked %d times", got, time.Since(begun), asked.Load())
			}
		})
	}
}

package forward

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/proxy/exchange"
)

// mirroring makes the first proxy of a way send a copy of everything to addr, too. ends gets how each copy ended.
func mirroring(t *testing.T, r *route, addr string) (ends chan exchange.Fault) {
	t.Helper()
	ends = make(chan exchange.Fault, 100)
	p := HTTP1
	e := r.first.e
	u := e.NewUpstream(UpstreamConfig{Protocol: p, Dial: dialTo(addr)})
	r.first.onRoute(func(x *exchange.Exchange) {
		copied := e.Mirror(x, u, func(c *exchange.Exchange) {
			if c.Response.Status > 0 && !c.Fault.Is() {
				ends <- exchange.Fault{Reason: fmt.Sprint(c.Response.Status)}
				return
			}
			ends <- c.Fault
		})
		if copied == nil {
			ends <- exchange.Fault{Kind: exchange.Overloaded, Reason: "refused"}
			return
		}
		copied.Request.Set("x-mirrored", "yes")
		copied.Timeouts.Request = 5 * time.Second
	})
	return ends
}

func await[T any](t *testing.T, c <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(10 * time.Second):
		t.Fatal("nothing came")
	}
	return v
}

func TestMirrorGetsTheSameRequest(t *testing.T) {
	large := bytes.Repeat([]byte("0123456789abcdef"), 40<<10)
	for _, p := range pairs {
		for name, sent := range map[string][]byte{"no body": nil, "small": []byte("hello"), "large": large} {
			for _, chunked := range []bool{false, true} {
				t.Run(fmt.Sprint(p.name, "/", name, "/chunked=", chunked), func(t *testing.T) {
					seen := make(chan string, 10)
					shadow := serveApp(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						all, err := io.ReadAll(r.Body)
						if err != nil {
							return
						}
						seen <- fmt.Sprint(r.Method, r.URL.Path, r.Header.Get("X-Mirrored"), r.Header.Get("X-Test"), hashed(all))
						w.WriteHeader(500) // whatever it says
						_, _ = io.WriteString(w, strings.Repeat("shadow", 1000))
					}))
					r := build(t, p.http2, p.meshed, serveApp(t, app()), Config{})
					ends := mirroring(t, r, shadow)
					var in io.Reader = bytes.NewReader(sent)
					if chunked {
						in = io.MultiReader(in)
					}
					req, err := http.NewRequest("POST", r.url+"/echo", in)
					if err != nil {
						t.Fatal(err)
					}
					req.Header.Set("X-Test", "1")
					resp, err := r.client.Do(req)
					if got := readBody(t, resp, err); got != string(sent) || resp.StatusCode != 200 {
						t.Errorf("got %d and %d bytes", resp.StatusCode, len(got))
					}
					if f := await(t, ends); f.Reason != "500" && len(sent) < copyRoom {
						t.Errorf("the copy ended with %v", f)
					} else if f.Reason == "500" {
						if got, want := await(t, seen), "POST/echoyes1"+hashed(sent); got != want {
							t.Errorf("the mirror saw %q, want %q", got, want)
						}
					}
					r.holdsNothing(t)
				})
			}
		}
	}
}

// TestMirrorNeverHarms mirrors to servers that do everything wrong.
func TestMirrorNeverHarms(t *testing.T) {
	dead := listen(t)
	dead.Close()
	stuck := listen(t) // accepts and reads nothing
	defer stuck.Close()
	large := bytes.Repeat([]byte("x"), 8<<20)
	for name, test := range map[string]struct {
		addr string
		cfg  Config
		sent []byte
		want exchange.Kind
	}{
		"nobody listens":              {dead.Addr().String(), Config{}, []byte("hello"), exchange.DialRefused},
		"nobody reads":                {stuck.Addr().String(), Config{}, large, exchange.Overloaded},
		"nobody answers":              {stuck.Addr().String(), Config{}, []byte("hello"), exchange.Timeout},
		"there are too many copies":   {stuck.Addr().String(), Config{MaxCopies: -1}, []byte("hello"), exchange.Overloaded},
		"it answers before the end":   {serveApp(t, http.NotFoundHandler()), Config{}, []byte("hello"), exchange.None},
		"its response has no end":     {serveApp(t, http.HandlerFunc(endless)), Config{}, []byte("hello"), exchange.Timeout},
		"it breaks off its response":  {serveApp(t, http.HandlerFunc(breakOff)), Config{}, []byte("hello"), exchange.Lost},
		"it closes without an answer": {serveApp(t, http.HandlerFunc(abort)), Config{}, []byte("hello"), exchange.Lost},
	} {
		t.Run(name, func(t *testing.T) {
			r := build(t, false, false, serveApp(t, app()), test.cfg)
			ends := mirroring(t, r, test.addr)
			before := r.first.h.route
			r.first.onRoute(func(x *exchange.Exchange) {
				before(x)
				if test.want == exchange.Timeout && r.first.e.inRoute.copies != nil {
					r.first.e.inRoute.copies.x.Timeouts.Request = 100 * time.Millisecond
				}
			})
			resp, err := r.client.Post(r.url+"/hash", "text/plain", bytes.NewReader(test.sent))
			if got := readBody(t, resp, err); resp.StatusCode != 200 ||
				!strings.HasPrefix(got, fmt.Sprint(len(test.sent), " ")) {
				t.Errorf("got %d %q", resp.StatusCode, got)
			}
			if f := await(t, ends); f.Kind != test.want {
				t.Errorf("the copy ended with %v, want %v", f, test.want)
			}
			r.holdsNothing(t)
		})
	}
}

func endless(w http.ResponseWriter, r *http.Request) {
	for r.Context().Err() == nil {
		if _, err := w.Write(make([]byte, 1024)); err != nil {
			return
		}
	}
}

func breakOff(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Length", "100")
	_, _ = io.WriteString(w, "short")
	w.(http.Flusher).Flush()
	panic(http.ErrAbortHandler)
}

func abort(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

// TestCopyOfABrokenRequestIsBroken makes sure that no server takes half a request for a whole one.
func TestCopyOfABrokenRequestIsBroken(t *testing.T) {
	complete := make(chan bool, 1)
	shadow := serveApp(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, err := io.Copy(io.Discard, r.Body)
		complete <- err == nil
	}))
	r := build(t, false, false, serveApp(t, app()), Config{})
	ends := mirroring(t, r, shadow)
	c, _ := r.connect(t)
	_, _ = io.WriteString(c, "POST /hash HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
	for deadline := time.Now().Add(5 * time.Second); ; {
		r.first.e.mu.Lock()
		copies := r.first.e.copies
		r.first.e.mu.Unlock()
		if copies == 1 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("no copy")
		}
	}
	_ = c.Close()
	if f := await(t, ends); f.Kind != exchange.Disconnected {
		t.Errorf("the copy ended with %v", f)
	}
	r.holdsNothing(t)
	select {
	case whole := <-complete:
		if whole {
			t.Error("the mirror took the request for complete")
		}
	default: // it was cut before the server saw it
	}
}

// TestConnectionsSurviveUnwantedResponses rejects responses with bodies and counts the connections that this costs.
func TestConnectionsSurviveUnwantedResponses(t *testing.T) {
	for _, p := range pairs {
		t.Run(p.name, func(t *testing.T) {
			var requests atomic.Int32
			h := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				if requests.Add(1)%2 == 1 {
					unavailable(w)
				}
			})
			r := build(t, p.http2, p.meshed, serveApp(t, h), Config{})
			retrying(r, 1, 0)
			var traffic exchange.Traffic
			r.first.e.mu.Lock() // the engine reads it with the lock
			r.first.h.to.Load().cfg.Traffic = &traffic
			r.first.e.mu.Unlock()
			for range 50 {
				resp, err := r.client.Get(r.url)
				if readBody(t, resp, err); resp.StatusCode != 200 {
					t.Fatalf("got %d", resp.StatusCode)
				}
			}
			if n := traffic.Opened.Load(); n > 2 { // HTTP/1 may need a second one for the retry
				t.Errorf("%d connections for 50 requests, each with an unwanted response", n)
			}
			r.holdsNothing(t)
		})
	}
}

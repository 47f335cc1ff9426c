package forward

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/tulle-mesh/tulle/proxy/exchange"
	"github.com/tulle-mesh/tulle/proxy/h2"
)

// refuse answers a request without a body.
func refuse(x *exchange.Exchange) Action {
	x.Response.Status = 204
	x.Response.Set(
		"x-reason",
		"this answer is longer than the request that provoked it, in every version of HTTP that there is",
	)
	return Reply(nil)
}

// held is what an engine holds for its connections.
func (e *Engine) buffered() (n int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	n = e.queued
	for c := range e.conns {
		n += c.sendBuffer.Size() + c.sending.Size()
	}
	return n
}

// stuff writes batches until the other side takes no more, and calls each after every one.
func stuff(t *testing.T, c net.Conn, next func() []byte, each func()) {
	t.Helper()
	for written := 0; written < 256<<20; {
		_ = c.SetWriteDeadline(time.Now().Add(500 * time.Millisecond))
		n, err := c.Write(next())
		if err != nil {
			return
		}
		written += n
		each()
	}
	t.Error("there is no end to the requests that are taken")
}

func TestAnswersThatNobodyReadsAreBounded(t *testing.T) {
	for _, p := range []Protocol{HTTP1, HTTP2} {
		t.Run(p.String(), func(t *testing.T) {
			q := start(t, p, Config{}, &fixed{reply: refuse}, nil)
			c := attack(t, q.addr).c
			next := streams()
			if p == HTTP1 {
				c, _ = (&route{first: q}).connect(t)
				batch := bytes.Repeat([]byte("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), 1000)
				next = func() []byte { return batch }
			}
			most := 0
			stuff(t, c, next, func() { most = max(most, q.e.buffered()) })
			if limit := sendBufferLimit + 2<<20; most > limit {
				t.Errorf("%d bytes are held for a client that does not read, want at most %d", most, limit)
			}
		})
	}
}

// streams returns batches of requests on ever new streams.
func streams() func() []byte {
	id := uint32(1)
	return func() (out []byte) {
		for range 1000 {
			out = h2.AppendHeaders(out, id, []byte{0x82, 0x84, 0x86, 0x41, 1, 'a'}, true) // GET / of http://a
			id += 2
		}
		return out
	}
}

// A server that never comes to an answer must not fill the client's connection with interim ones.
func TestInterimAnswersThatNobodyReadsAreBounded(t *testing.T) {
	var sent atomic.Int64
	app := rawApp(t, func(_ int, c net.Conn, br *bufio.Reader) {
		if _, err := http.ReadRequest(br); err != nil {
			return
		}
		hints := make([]byte, 0, 64<<10)
		for len(hints) < 60<<10 {
			hints = append(hints, "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"...)
		}
		for range 1000 {
			n, err := c.Write(hints)
			if sent.Add(int64(n)); err != nil {
				return
			}
		}
		_, _ = io.WriteString(c, "HTTP/1.1 204 No Content\r\n\r\n")
		_, _ = br.ReadByte()
	})
	r := build(t, false, false, app, Config{})
	c, _ := r.connect(t)
	send(t, c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	for deadline := time.Now().Add(10 * time.Second); r.first.h.ends.Load() == 0 && time.Now().Before(deadline); {
		if n := r.first.e.buffered(); n > sendBufferLimit {
			t.Fatalf("%d bytes are n", n)
		}
	}
}

// Servers whose answers have large heads and no end must not fill the memory that is for heads.
func TestLargeAnswersAreBounded(t *testing.T) {
	app := serveApp(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Large", strings.Repeat("v", 60<<10))
		w.WriteHeader(200)
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	}))
	for _, p := range pairs {
		t.Run(p.name, func(t *testing.T) {
			r := build(t, p.http2, p.meshed, app, Config{MaxHeadsBytes: 400 << 10})
			seen := map[int]int{}
			for range 8 {
				resp, err := r.client.Get(r.url + "/")
				if err != nil {
					t.Fatal(err)
				}
				defer resp.Body.Close()
				seen[resp.StatusCode]++
			}
			if seen[200] < 2 || seen[503] < 1 {
				t.Errorf("got %v, want some of 200 and then 503", seen)
			}
		})
	}
}

// A client that opens streams and reads none of the answers fills the queues. Others must be served all the same.
func TestStalledReadersDoNotStopTheOthers(t *testing.T) {
	app := serveApp(t, app())
	r := build(t, true, true, app, Config{MaxQueuedBytes: 4 << 20, Stall: 3 * time.Second})
	a := attack(t, r.first.addr)
	for i := range uint32(200) {
		a.open(2*i+1, true, ":method", "GET", ":scheme", "http", ":authority", "a", ":path", "/bytes/10000000")
	}
	for deadline := time.Now().Add(time.Minute); r.first.e.buffered() < 4<<20; runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatal("the queues do not fill")
		}
	}
	r.client.Timeout = 2 * time.Minute // far above what it takes: a busy machine is slow
	resp, err := r.client.Get(r.url + "/bytes/60000000")
	if got := readBody(t, resp, err); len(got) != 60000000 {
		t.Errorf("got %d bytes", len(got))
	}
}

// On a connection that gives little window, all streams wait; none of them is to blame while the connection moves. When
// it stops, they are given up: at once, or a look later if the client is a proxy of the mesh.
func TestStreamsOfASlowConnectionAreNotGivenUp(t *testing.T) {
	const streams, grant = 50, 512 << 10
	for _, c := range []struct {
		name  string
		of    Protocol
		looks int
	}{{"client", HTTP2, 1}, {"proxy", Mux, 2}} {
		t.Run(c.name, func(t *testing.T) {
			app := serveApp(t, app())
			h := &fixed{}
			p := start(t, c.of, Config{MaxQueuedBytes: 1 << 20, Stall: 3 * time.Second}, h, nil)
			h.to.Store(p.e.NewUpstream(UpstreamConfig{Protocol: HTTP2, Dial: dialTo(app)}))
			advance := p.freeze()
			a := attack(t, p.addr)
			_ = a.c.SetDeadline(time.Now().Add(20 * time.Second))
			_ = a.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 16 << 20})
			for i := range uint32(streams) {
				a.open(2*i+1, true, ":method", "GET", ":scheme", "http", ":authority", "a", ":path", "/bytes/10000000")
			}
			// state reports whether the next look decides, and whether it finds that the connection moves.
			state := func() (decides, moves bool) {
				p.e.mu.Lock()
				defer p.e.mu.Unlock()
				for c := range p.e.h2Conns() {
					moves = moves || c.conn.rec != nil && !stands(c.moved-c.lastMoved, p.e.queued)
				}
				return p.e.pressure.IsSet() && len(p.e.withheld) > 0, moves
			}
			look := func() {
				advance(4 * time.Second)
				p.e.beginBatch()
				p.e.wheel.Advance(p.e.now)
				p.e.endBatch()
			}
			received, heads := 0, 0
			read := func() {
				f, err := a.ReadFrame()
				if err != nil {
					t.Fatal(err)
				}
				switch f := f.(type) {
				case *http2.DataFrame:
					received += len(f.Data())
				case *http2.HeadersFrame:
					heads++
				}
			}
			for heads < streams {
				read()
			}
			want := h2.InitialWindow
			for looks := 0; looks < 5; {
				_ = a.WriteWindowUpdate(0, grant)
				for want += grant; received < want; {
					read()
				}
				if decides, moves := state(); decides && moves {
					look()
					looks++
				}
				if n := h.stalled.Load(); n > 0 {
					t.Fatalf("%d streams were given up while the connection moved", n)
				}
			}
			for looks := 1; looks <= c.looks; looks++ {
				for decides, _ := state(); !decides; decides, _ = state() {
					runtime.Gosched()
				}
				look()
				if n := h.stalled.Load(); n > 0 != (looks == c.looks) {
					t.Fatalf("after %d looks at a connection that stands, %d streams were given up", looks, n)
				}
			}
		})
	}
}

// When the queues empty in one flush, the servers' windows come back at once: nothing else would wake them.
func TestWindowsComeBackWhenAFlushEmptiesTheQueues(t *testing.T) {
	const streams, grant, total = 50, 512 << 10, 8 << 20
	p := build(t, true, false, serveApp(t, app()), Config{MaxQueuedBytes: 1 << 20}).first
	p.freeze()(time.Hour) // no timer wakes the engine
	a := attack(t, p.addr)
	_ = a.c.SetDeadline(time.Now().Add(time.Minute))
	_ = a.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 16 << 20})
	for i := range uint32(streams) {
		a.open(2*i+1, true, ":method", "GET", ":scheme", "http", ":authority", "a", ":path", "/bytes/10000000")
	}
	received := 0
	for want := h2.InitialWindow; received < total; {
		if received >= want {
			_ = a.WriteWindowUpdate(0, grant)
			want += grant
		}
		f, err := a.ReadFrame()
		if err != nil {
			t.Fatalf("after %d bytes: %v", received, err)
		}
		if f, ok := f.(*http2.DataFrame); ok {
			received += len(f.Data())
		}
	}
}

package forward

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// eventually waits until the condition, looked at with the lock, holds.
func (p *proxy) eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(time.Minute); ; <-tick.C {
		p.e.mu.Lock()
		ok := holds()
		p.e.mu.Unlock()
		if ok {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not within a minute: %s", what)
		}
	}
}

// A client may take its time over the last of an answer that ends its connection: it gets all of it.
func TestLastAnswerReachesASlowReader(t *testing.T) {
	const piece = 32 << 10
	more := make(chan bool)
	app := rawApp(t, func(_ int, c net.Conn, br *bufio.Reader) {
		if _, err := http.ReadRequest(br); err != nil {
			return
		}
		_, _ = io.WriteString(c, "HTTP/1.0 200 OK\r\n\r\n")
		for <-more {
			_, _ = c.Write(make([]byte, piece))
		}
	})
	r := build(t, false, false, app, Config{})
	c, br := r.connect(t)
	send(t, c, "GET / HTTP/1.0\r\n\r\n")
	size := 0
	for stuck := 0; stuck < 50; { // the socket takes no more
		more <- true
		size += piece
		stuck = 0
		r.first.eventually(t, "the piece goes through or sticks", func() bool {
			waits, came := 0, 0
			for c := range r.first.e.conns {
				if s, ok := c.proto.(*h1Server); ok && s.cur != nil {
					waits, came = c.sendBuffer.Size()+c.sending.Size(), int(s.cur.resp.total)
				}
			}
			if stuck = min(stuck+1, 50); came < size || waits == 0 {
				stuck = 0
			}
			return stuck == 50 || came == size && waits == 0
		})
	}
	more <- false
	r.first.eventually(t, "the exchange ends", func() bool { return r.first.h.ends.Load() == 1 })
	<-time.After(2 * lingerTime) // slow is what this test is about
	resp, err := http.ReadResponse(br, nil)
	if got := readBody(t, resp, err); len(got) != size {
		t.Errorf("got %d bytes, want %d", len(got), size)
	}
}

// A server may end its connection as soon as it has sent a whole answer. A client that reads it slowly gets all of it.
func TestAnswerOutlivesItsConnection(t *testing.T) {
	const size = 200_000
	for name, bye := range map[string]func(a *attacker, id uint32){
		"end":           func(a *attacker, _ uint32) { _ = a.c.(*net.TCPConn).CloseWrite() },
		"reset":         func(a *attacker, id uint32) { _ = a.WriteRSTStream(id, http2.ErrCodeCancel) },
		"GOAWAY, error": func(a *attacker, _ uint32) { _ = a.WriteGoAway(0, http2.ErrCodeInternal, nil) },
	} {
		t.Run(name, func(t *testing.T) {
			app := rawApp(t, func(_ int, c net.Conn, _ *bufio.Reader) {
				respondHTTP2(c, func(a *attacker, id uint32) {
					a.open(id, false, ":status", "200")
					for left := size; left > 0; left -= 10_000 {
						_ = a.WriteData(id, left == 10_000, make([]byte, 10_000))
					}
					bye(a, id)
				})
			})
			r := build(t, true, false, app, Config{})
			a := attack(t, r.first.addr).listen()
			a.open(1, true, ":method", "GET", ":scheme", "http", ":authority", "a", ":path", "/")
			r.first.eventually(t, "the server has gone", func() bool {
				begun, gone := r.first.e.queued > 0, true
				for c := range r.first.e.conns {
					if up, ok := c.proto.(*h2Conn); ok && up.client() && up.state == h2Open {
						begun, gone = true, gone && len(up.streams) == 0
					}
				}
				return begun && gone || r.first.h.ends.Load() > 0
			})
			got := 0
			for got < 65_535 { // the window that the client grants
				f, err := a.ReadFrame()
				if err != nil {
					t.Fatal(err)
				}
				if d, ok := f.(*http2.DataFrame); ok {
					got += len(d.Data())
				}
			}
			_ = a.WriteWindowUpdate(0, size)
			_ = a.WriteWindowUpdate(1, size)
			status, rest := a.response(t, 1)
			if got += len(rest); got != size {
				t.Errorf("got %d bytes of %d, %s", got, size, status)
			}
		})
	}
}

// What goes through a tunnel has no end of its own: one that was cut off must not look whole.
func TestTunnelThatIsCutOffIsReset(t *testing.T) {
	const open = "CONNECT db:5432 HTTP/1.1\r\nHost: db:5432\r\n\r\n"
	serverSaw := make(chan error, 1)
	app := rawApp(t, func(n int, c net.Conn, br *bufio.Reader) {
		if _, err := http.ReadRequest(br); err != nil {
			return
		}
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
		word, err := br.ReadString('\n')
		if err != nil {
			return
		}
		if word == "cut\n" {
			_ = c.(*net.TCPConn).SetLinger(0)
			return
		}
		_, _ = io.WriteString(c, "go\n")
		_, err = br.ReadByte()
		serverSaw <- err
	})
	h1Pairs(t, app, Config{}, func(t *testing.T, r *route) {
		c, br := r.connect(t)
		send(t, c, open)
		_ = receive(t, br, "CONNECT", 200)
		send(t, c, "cut\n")
		if _, err := br.ReadByte(); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("the client saw %v, want a reset", err)
		}
		c, br = r.connect(t)
		send(t, c, open)
		_ = receive(t, br, "CONNECT", 200)
		send(t, c, "stay\n")
		_, _ = br.ReadString('\n')
		_ = c.(*net.TCPConn).SetLinger(0)
		_ = c.Close()
		if err := <-serverSaw; !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("the server saw %v, want a reset", err)
		}
	})
}

// A connection that could not be made must not leave those behind who waited for another one.
func TestFailedDialWakesTheNextWaiter(t *testing.T) {
	h := &fixed{}
	p := start(t, HTTP1, Config{}, h, nil)
	app := see(t, ownTarget)
	dialled := make(chan struct{}, 2)
	fail := make(chan struct{})
	h.to.Store(
		p.e.NewUpstream(UpstreamConfig{Protocol: HTTP1, MaxConns: 1, Dial: func(ctx context.Context) (net.Conn, error) {
			select {
			case dialled <- struct{}{}:
			default:
			}
			select {
			case <-fail:
			case <-ctx.Done():
			}
			if len(dialled) == 2 {
				return dialTo(app.addr)(ctx)
			}
			return nil, errors.New("no")
		}}),
	)
	r := &route{first: p}
	var brs []*bufio.Reader
	for range 2 {
		c, br := r.connect(t)
		send(t, c, "GET /a HTTP/1.1\r\nHost: a\r\n\r\n")
		brs = append(brs, br)
	}
	p.eventually(t, "both wait", func() bool { return h.to.Load().waiting.Len() == 2 })
	close(fail)
	for _, br := range brs {
		if _, err := http.ReadResponse(br, nil); err != nil {
			t.Error(err)
		}
	}
}

// A client that has sent everything may still wait for its answer. One that is gone does not: nobody is to work for it.
func TestClientThatIsGoneAfterItsLastWordIsNoticed(t *testing.T) {
	asked, gone := make(chan struct{}, 1), make(chan error, 1)
	app := rawApp(t, func(_ int, c net.Conn, br *bufio.Reader) {
		if _, err := http.ReadRequest(br); err != nil {
			return
		}
		asked <- struct{}{}
		_, err := br.ReadByte()
		gone <- err
	})
	h1Pairs(t, app, Config{}, func(t *testing.T, r *route) {
		c, _ := r.connect(t)
		send(t, c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		_ = c.(*net.TCPConn).CloseWrite()
		<-asked
		_ = c.(*net.TCPConn).SetLinger(0) // a reset is the last that its kernel sends
		_ = c.Close()
		select {
		case err := <-gone:
			if !errors.Is(err, io.EOF) {
				t.Errorf("the server saw %v", err)
			}
		case <-time.After(5 * time.Second):
			t.Error("the server still works for it")
		}
	})
}

// Protocols have versions, and clients offer several.
func TestUpgradeMayNameVersions(t *testing.T) {
	app := rawApp(t, func(_ int, c net.Conn, br *bufio.Reader) {
		if req, err := http.ReadRequest(br); err == nil {
			_, _ = fmt.Fprintf(
				c,
				"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n",
				req.Header.Get("Upgrade"),
			)
		}
	})
	h1Pairs(t, app, Config{}, func(t *testing.T, r *route) {
		for _, protocol := range []string{"SPDY/3.1", "websocket, IRC/6.9", "tcp"} {
			c, br := r.connect(t)
			send(t, c, "GET /exec HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: "+protocol+"\r\n\r\n")
			if got := receive(t, br, "GET", 101).Header.Get("Upgrade"); got != protocol {
				t.Errorf("got %q, want %q", got, protocol)
			}
		}
	})
}

// TestResetBehindTheLastFramesEndsTheConnection: a reset that came with the last frames causes no event of its own, and
// where no stream is open nothing is written that would run into it.
func TestResetBehindTheLastFramesEndsTheConnection(t *testing.T) {
	r := build(t, true, false, serveApp(t, http.NotFoundHandler()), Config{})
	for range 200 {
		c, err := net.Dial("tcp", r.first.addr)
		if err != nil {
			t.Fatal(err)
		}
		send(t, c, http2.ClientPreface+"\x00\x00\x00\x04\x00\x00\x00\x00\x00")
		frames := http2.NewFramer(io.Discard, c)
		for acked := false; !acked; {
			f, err := frames.ReadFrame()
			if err != nil {
				t.Fatal(err)
			}
			settings, ok := f.(*http2.SettingsFrame)
			acked = ok && settings.IsAck()
		}
		send(t, c, "\x00\x00\x00\x04\x01\x00\x00\x00\x00") // needs no reply
		_ = c.(*net.TCPConn).SetLinger(0)                  // it fails only on a closed connection
		_ = c.Close()
	}
	r.first.eventually(t, "every connection ends", func() bool { return len(r.first.e.conns) == 0 })
}

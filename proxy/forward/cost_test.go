package forward

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"runtime"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/internal/alloctest"
	"github.com/tulle-mesh/tulle/proxy/h2"
)

// maxAllocs is the budget of a request in one proxy (data-plane notes: two, stretch none).
const maxAllocs = 2

// fastApp is an application on one connection after the other that allocates nothing for a request.
func fastApp(t testing.TB) string {
	reply := []byte("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello")
	return rawApp(t, func(_ int, c net.Conn, _ *bufio.Reader) {
		_ = c.SetDeadline(time.Now().Add(time.Minute))
		buf := make([]byte, 4096)
		for have := 0; ; {
			n, err := c.Read(buf[have:])
			if err != nil {
				return
			}
			have += n
			if !bytes.HasSuffix(buf[:have], []byte("\r\n\r\n")) {
				continue
			}
			have = 0
			if _, err := c.Write(reply); err != nil {
				return
			}
		}
	})
}

// TestSteadyStateAllocatesNextToNothing counts the whole process: client, application and proxies. The first two
// allocate nothing.
func TestSteadyStateAllocatesNextToNothing(t *testing.T) {
	for _, meshed := range []bool{false, true} {
		name, proxies := "h1", 1.0
		if meshed {
			name, proxies = "h1-mux-h1", 2
		}
		t.Run(name, func(t *testing.T) {
			r := build(t, false, meshed, fastApp(t), Config{})
			c, _ := r.connect(t)
			request := []byte("GET /cart?id=1 HTTP/1.1\r\nHost: shop:8080\r\nUser-Agent: test\r\nAccept: */*\r\n\r\n")
			buf := make([]byte, 4096)
			once := func() {
				if _, err := c.Write(request); err != nil {
					t.Fatal(err)
				}
				for have := 0; !bytes.HasSuffix(buf[:have], []byte("hello")); {
					n, err := c.Read(buf[have:])
					if err != nil {
						t.Fatal(err)
					}
					have += n
				}
			}
			for range 200 {
				once()
			}
			got := alloctest.Count(t, 2000, once)
			t.Logf("%v allocations a request over %v proxies", got, proxies)
			if got > maxAllocs*proxies {
				t.Errorf("%v allocations a request over %v proxies, want at most %d each", got, proxies, maxAllocs)
			}
		})
	}
}

// TestGoroutinesDoNotGrowWithStreams opens streams that hang and counts what they cost.
func TestGoroutinesDoNotGrowWithStreams(t *testing.T) {
	l := listen(t)
	defer l.Close()
	accepted := make(chan struct{}, 1)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			accepted <- struct{}{}
			_, _ = io.Copy(io.Discard, c)
			c.Close()
		}
	}()
	r := build(t, true, false, l.Addr().String(), Config{})
	a := attack(t, r.first.addr)
	inFlight := func(n int) {
		for deadline := time.Now().Add(5 * time.Second); ; runtime.Gosched() {
			r.first.e.mu.Lock()
			got := r.first.e.inFlight
			r.first.e.mu.Unlock()
			if got == n {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("%d in flight, want %d", got, n)
			}
		}
	}
	_ = a.get(1, true)
	inFlight(1)
	<-accepted
	before := runtime.NumGoroutine()
	for i := uint32(1); i < 200; i++ {
		_ = a.get(2*i+1, true)
	}
	inFlight(200)
	if after := runtime.NumGoroutine(); after > before {
		t.Errorf("%d goroutines with 200 streams, %d with one", after, before)
	}
}

// endOfStream reads frames until the last one of a message, without allocating, and returns its stream.
func endOfStream(t testing.TB, c net.Conn, buf []byte) (id uint32, ok bool) {
	for {
		if _, err := io.ReadFull(c, buf[:h2.HeaderLen]); err != nil {
			return 0, false
		}
		f := h2.ParseHeader(buf)
		if _, err := io.ReadFull(c, buf[:f.Length]); err != nil {
			return 0, false
		}
		if f.Type == h2.GoAway || f.Type == h2.RSTStream {
			t.Errorf("got %v", f)
			return 0, false
		}
		if (f.Type == h2.Data || f.Type == h2.Headers) && f.Has(h2.FlagEndStream) {
			return f.StreamID, true
		}
	}
}

// appendMessage appends a head, which is a header block, and the body "hello".
func appendMessage(dst []byte, id uint32, block []byte) []byte {
	dst = h2.AppendHeaders(dst, id, block, false)
	dst = h2.AppendHeader(dst, h2.FrameHeader{Length: 5, Type: h2.Data, Flags: h2.FlagEndStream, StreamID: id})
	return append(dst, "hello"...)
}

// TestCallsAllocateNextToNothing does the same for calls with a body over HTTP/2, which is kept until the server has
// taken the call.
func TestCallsAllocateNextToNothing(t *testing.T) {
	var (
		post = []byte{
			0x83,
			0x86,
			0x84,
			0x01,
			0x01,
			'a',
		} // :method POST, :scheme http, :path /, :authority a. RFC 7541 appendix A
		okay = []byte{0x88} // :status 200
	)
	for _, meshed := range []bool{false, true} {
		name, proxies := "h2", 1.0
		if meshed {
			name, proxies = "h2-mux-h2", 2
		}
		t.Run(name, func(t *testing.T) {
			app := rawApp(t, func(_ int, c net.Conn, _ *bufio.Reader) {
				_ = c.SetDeadline(time.Now().Add(time.Minute))
				buf, out := make(
					[]byte,
					20_000,
				), h2.AppendSettingsAck(
					h2.AppendSettings(nil, h2.Options{MaxStreams: 100, InitialWindow: 65_535}, false),
				)
				out = h2.AppendWindowUpdate(out, 0, 1<<30)
				if _, err := io.ReadFull(c, buf[:len(h2.Preface)]); err != nil {
					return
				}
				for {
					if _, err := c.Write(out); err != nil {
						return
					}
					id, ok := endOfStream(t, c, buf)
					if !ok {
						return
					}
					out = appendMessage(out[:0], id, okay)
				}
			})
			r := build(t, true, meshed, app, Config{})
			a := attack(t, r.first.addr)
			_ = a.WriteWindowUpdate(0, 1<<30)
			_ = a.c.SetDeadline(time.Now().Add(time.Minute))
			buf, out, next := make([]byte, 20_000), []byte(nil), uint32(1)
			once := func() {
				out = appendMessage(out[:0], next, post)
				if _, err := a.c.Write(out); err != nil {
					t.Fatal(err)
				}
				if id, ok := endOfStream(t, a.c, buf); !ok || id != next {
					t.Fatalf("stream %d ended, want %d", id, next)
				}
				next += 2
			}
			for range 200 {
				once()
			}
			got := alloctest.Count(t, 2000, once)
			t.Logf("%v allocations a call over %v proxies", got, proxies)
			if got > maxAllocs*proxies {
				t.Errorf("%v allocations a call over %v proxies, want at most %d each", got, proxies, maxAllocs)
			}
		})
	}
}

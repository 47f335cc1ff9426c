package forward

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"runtime"
	"testing"
	"time"
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

// TestSteadyStateAllocatesNextToNothing counts the whole process: client, application and proxies. The first two allocate nothing.
func TestSteadyStateAllocatesNextToNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
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
			got := testing.AllocsPerRun(2000, once)
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
			r.first.e.turn.Lock()
			got := r.first.e.inFlight
			r.first.e.turn.Unlock()
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

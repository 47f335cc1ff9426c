package forward

import (
	"bufio"
	"fmt"
	"io"
	"iter"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// memory is how much the queues of all requests in flight hold.
func (e *Engine) memory() (n int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for c := range e.conns {
		if holder, ok := c.proto.(interface{ flights() iter.Seq[*flight] }); ok && c.rec != nil {
			for fl := range holder.flights() {
				n += fl.req.q.Memory() + fl.resp.q.Memory()
			}
		}
	}
	return n
}

// However many connections and streams bodies come on for a server that does not read them, they must not take all
// memory.
func TestBodiesThatNobodyReadsAreBounded(t *testing.T) {
	const limit = 2 << 20
	for name, c := range map[string]struct{ conns, streams, bytes int }{
		"many connections":  {8, 16, 250_000},
		"many small bodies": {4, 200, 5_000},
	} {
		t.Run(name, func(t *testing.T) {
			app := rawApp(t, func(_ int, c net.Conn, br *bufio.Reader) {
				_ = http2.NewFramer(c, c).WriteSettings()
				_, _ = io.Copy(io.Discard, br) // and no window
			})
			r := build(t, true, false, app, Config{MaxQueuedBytes: limit, Stall: time.Hour})
			var wg sync.WaitGroup
			for range c.conns {
				a := attack(t, r.first.addr)
				granted := make(chan int, 1000)
				wg.Go(func() {
					defer close(granted)
					for {
						f, err := a.ReadFrame()
						if err != nil {
							return
						}
						if w, ok := f.(*http2.WindowUpdateFrame); ok && w.StreamID == 0 {
							granted <- int(w.Increment)
						}
					}
				})
				wg.Go(func() {
					defer a.c.Close()
					a.upload(c.streams, c.bytes, granted)
				})
			}
			done := make(chan struct{})
			go func() { wg.Wait(); close(done) }()
			most := 0
			for {
				most = max(most, r.first.e.memory())
				select {
				case <-done:
					if most > lastResort*limit {
						t.Errorf("bodies took %d bytes, want at most %d", most, lastResort*limit)
					}
					return
				default:
					runtime.Gosched()
				}
			}
		})
	}
}

// upload sends so many bodies without an end, as far as the connection's window goes.
func (a *attacker) upload(streams, size int, granted <-chan int) {
	window := 65_535
	for i := range streams {
		_ = a.get(uint32(2*i+1), false)
		for left := size; left > 0; left -= 16 << 10 {
			n := min(left, 16<<10)
			for window < n {
				select {
				case more, ok := <-granted:
					if window += more; !ok {
						return
					}
				case <-time.After(300 * time.Millisecond): // nothing more is granted
					return
				}
			}
			window -= n
			_ = a.WriteData(uint32(2*i+1), false, make([]byte, n))
		}
	}
}

// Where many windows together are too much all the same, exchanges that want to queue more are refused.
func TestQueuesHaveALastResort(t *testing.T) {
	const limit, size, conns = 64 << 10, 60 << 10, 3 * lastResort
	p := start(t, HTTP1, Config{MaxQueuedBytes: limit}, &fixed{}, nil) // everyone waits for an endpoint
	for range conns {
		c, _ := (&route{first: p}).connect(t)
		send(
			t,
			c,
			fmt.Sprintf("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s", size+1, make([]byte, size)),
		)
	}
	p.eventually(t, "those beyond the last resort are refused", func() bool {
		if p.e.queued > lastResort*limit+limit {
			t.Errorf("%d bytes are queued", p.e.queued)
		}
		return p.h.ends.Load() >= conns-lastResort-1
	})
}

// A client that reads a little of many answers, now and then, fills the queues as well as one that reads nothing.
func TestTricklingReadersDoNotStopTheOthers(t *testing.T) {
	r := build(t, true, false, serveApp(t, app()), Config{MaxQueuedBytes: 4 << 20, Stall: time.Second})
	a := attack(t, r.first.addr)
	_ = a.c.SetDeadline(time.Time{})
	for i := range uint32(200) {
		a.open(2*i+1, true, ":method", "GET", ":scheme", "http", ":authority", "a", ":path", "/bytes/10000000")
	}
	r.first.eventually(t, "the queues fill", func() bool { return r.first.e.queued >= 4<<20 })
	var wg sync.WaitGroup
	stop := make(chan struct{})
	wg.Go(func() { _, _ = io.Copy(io.Discard, a.c) })
	wg.Go(func() {
		tick := time.NewTicker(400 * time.Millisecond)
		defer tick.Stop()
		defer a.c.Close()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
			}
			for range 200 {
				if a.WriteWindowUpdate(0, 256) != nil {
					return
				}
			}
		}
	})
	r.client.Timeout = time.Minute
	resp, err := r.client.Get(r.url + "/bytes/60000000")
	if got := readBody(t, resp, err); len(got) != 60000000 {
		t.Errorf("got %d bytes", len(got))
	}
	close(stop)
	wg.Wait()
}

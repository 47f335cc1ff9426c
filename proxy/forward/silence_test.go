package forward

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"maps"
	"net"
	"net/http"
	"runtime"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/tulle-mesh/tulle/internal/testapp"
)

// skip moves the engine's clock by d and returns what it shows then.
func (p *proxy) skip(d time.Duration) (now time.Time) {
	p.e.mu.Lock()
	defer p.e.mu.Unlock()
	p.skipped += d
	skipped := p.skipped
	p.e.clock = func() time.Time { return time.Now().Add(skipped) }
	return p.e.clock()
}

// fallSilent lets the time d pass for the engines, in which nobody says anything but in answer to them.
func (r *route) fallSilent(t *testing.T, d time.Duration) {
	t.Helper()
	step := r.first.e.cfg.Silence
	for _, p := range []*proxy{r.first, r.last} {
		p.eventually(t, "every server has sent SETTINGS", func() bool {
			for c := range p.e.conns {
				if c, ok := c.proto.(*h2Conn); ok && c.handshake != h2Ready {
					return false
				}
			}
			return true
		})
	}
	for ; d > 0; d -= step {
		for _, p := range []*proxy{r.first, r.last} {
			now := p.skip(step)
			p.e.wake.Notify()
			p.eventually(t, "timers fire and pings are answered", func() bool {
				if p.e.now.Before(now) {
					return false
				}
				for c := range p.e.conns {
					if c, ok := c.proto.(*h2Conn); ok && c.liveness == h2Pinged {
						return false
					}
				}
				next, armed := p.e.wheel.Next()
				return !armed || next.After(p.e.now)
			})
		}
	}
}

var bidi = &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}

// A server of gRPC's ends a connection that pings it more often than every 5 minutes without data: three of four pings
// are too many, for grpc-go, C-core and Java alike. Source: gRFC A8 and A9, the servers' default enforcement.
func TestQuietCallsOutliveTheServersKeepaliveEnforcement(t *testing.T) {
	const quiet = 2 * time.Minute
	for _, p := range pairs {
		if !p.http2 {
			continue
		}
		for name, call := range map[string]func(ctx context.Context, t *testing.T, c *grpc.ClientConn, silence func()){
			"bidirectional stream": func(ctx context.Context, t *testing.T, c *grpc.ClientConn, silence func()) {
				s, err := c.NewStream(ctx, bidi, "/quiet/Bidi")
				if err != nil {
					t.Fatal(err)
				}
				for i := range 3 {
					if i > 0 {
						silence()
					}
					if err := s.SendMsg(wrapperspb.String("hello")); err != nil {
						t.Fatalf("send %d: %v", i, err)
					}
					if err := s.RecvMsg(&wrapperspb.StringValue{}); err != nil {
						t.Fatalf("receive %d: %v", i, err)
					}
				}
			},
			"slow unary call": func(ctx context.Context, t *testing.T, c *grpc.ClientConn, silence func()) {
				ended := make(chan error, 1)
				go func() { ended <- c.Invoke(ctx, "/quiet/Unary", wrapperspb.String("slow"), &wrapperspb.StringValue{}) }()
				silence()
				if err := <-ended; err != nil {
					t.Fatal(err)
				}
			},
		} {
			t.Run(p.name+"/"+name, func(t *testing.T) {
				asked, respond := make(chan struct{}, 1), make(chan struct{})
				app := testapp.GRPC(t, func(s grpc.ServerStream) error {
					for {
						in := &wrapperspb.StringValue{}
						if err := s.RecvMsg(in); err != nil {
							return nil
						}
						if in.Value == "slow" {
							asked <- struct{}{}
							select {
							case <-respond:
							case <-s.Context().Done():
							}
						}
						if err := s.SendMsg(in); err != nil || in.Value == "slow" {
							return err
						}
					}
				})
				r := build(t, true, p.meshed, app, Config{})
				ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
				defer cancel()
				call(ctx, t, testapp.Dial(t, r.first.addr), func() {
					if name == "slow unary call" {
						<-asked
						defer close(respond)
					}
					r.fallSilent(t, quiet)
				})
			})
		}
	}
}

// frames counts frames, apart from those of messages.
type frames map[http2.FrameType]int

// observe stands before a server and counts what it is sent; it also gives the number of messages that ended.
func observe(t *testing.T, server string) (addr string, got func() (frames, int)) {
	var mu sync.Mutex
	seen, ended := frames{}, 0
	addr = rawApp(t, func(_ int, c net.Conn, br *bufio.Reader) {
		to, err := net.Dial("tcp", server)
		if err != nil {
			return
		}
		defer to.Close()
		for _, c := range []net.Conn{c, to} {
			_ = c.SetDeadline(time.Now().Add(time.Minute))
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			_, _ = io.Copy(c, to)
			_ = c.Close()
		}()
		defer func() { _ = to.Close(); <-done }()
		in := io.TeeReader(br, to)
		if _, err := io.ReadFull(in, make([]byte, len(http2.ClientPreface))); err != nil {
			return
		}
		for fr := http2.NewFramer(nil, in); ; {
			f, err := fr.ReadFrame()
			if err != nil {
				return
			}
			h := f.Header()
			mu.Lock()
			switch {
			case h.Type != http2.FrameData && h.Type != http2.FrameHeaders:
				seen[h.Type]++
			case h.Flags.Has(http2.FlagDataEndStream):
				ended++
			case h.Type == http2.FrameData && h.Length == 0:
				t.Error("an empty DATA frame")
			}
			mu.Unlock()
		}
	})
	return addr, func() (frames, int) {
		mu.Lock()
		defer mu.Unlock()
		return maps.Clone(seen), ended
	}
}

// What the engine sends unasked on a connection to an application or to a peer without a proxy. Servers count it: PING
// is limited as above, netty ends a connection after two empty DATA frames in a row or 200 RST_STREAM in half a minute.
func TestWhatServersAreSentUnasked(t *testing.T) {
	const (
		begin = 2 // our SETTINGS, and the acknowledgement of the server's
		mega  = 1_000_000
	)
	get := func(t *testing.T, r *route, path string, want int) {
		resp, err := r.client.Get(r.url + path)
		if got := readBody(t, resp, err); len(got) != want {
			t.Errorf("got %d bytes, want %d", len(got), want)
		}
	}
	for name, test := range map[string]struct {
		use  func(t *testing.T, r *route)
		most frames
	}{
		"a hundred calls": {func(t *testing.T, r *route) {
			for range 100 {
				get(t, r, "/echo", 0)
			}
		}, frames{http2.FrameSettings: begin}},
		"ten minutes without a word, in the middle of a call": {func(t *testing.T, r *route) {
			stop := r.hang(t)
			r.fallSilent(t, 10*time.Minute)
			stop()
		}, frames{http2.FrameSettings: begin, http2.FrameRSTStream: 1}},
		"a call that the client gives up: one RST_STREAM": {func(t *testing.T, r *route) {
			r.hang(t)()
		}, frames{http2.FrameSettings: begin, http2.FrameRSTStream: 1}},
		"a megabyte up": {func(t *testing.T, r *route) {
			resp, err := r.client.Post(r.url+"/hash", "text/plain", bytes.NewReader(make([]byte, mega)))
			_ = readBody(t, resp, err)
		}, frames{http2.FrameSettings: begin}},
		"a megabyte down, in any pieces: WINDOW_UPDATE for half a window": {func(t *testing.T, r *route) {
			get(t, r, "/crumbs", mega)
		}, frames{http2.FrameSettings: begin, http2.FrameWindowUpdate: mega/(32<<10) + mega/(128<<10)}},
	} {
		t.Run(name, func(t *testing.T) {
			handler := http.NewServeMux()
			handler.Handle("/", app())
			handler.HandleFunc("/hang", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
			handler.HandleFunc("/crumbs", func(w http.ResponseWriter, _ *http.Request) {
				for range mega / 100 {
					_, _ = w.Write(make([]byte, 100))
					_ = http.NewResponseController(w).Flush()
				}
			})
			addr, got := observe(t, serveApp(t, handler))
			r := build(t, true, false, addr, Config{})
			test.use(t, r)
			get(t, r, "/echo", 0)
			sent, messages := got()
			// The acknowledgement of SETTINGS may follow the last response.
			deadline := time.Now().Add(time.Minute)
			for ; sent[http2.FrameSettings] < begin && time.Now().Before(deadline); sent, messages = got() {
				runtime.Gosched()
			}
			for kind, n := range sent {
				if n > test.most[kind] {
					t.Errorf("%d times %v, want at most %d", n, kind, test.most[kind])
				}
			}
			if messages == 0 || sent[http2.FrameSettings] != begin {
				t.Errorf("%d messages, %d times SETTINGS: nothing was counted", messages, sent[http2.FrameSettings])
			}
		})
	}
}

// The same for clients: they are sent no PING, and WINDOW_UPDATE for half a window.
func TestWhatClientsAreSentUnasked(t *testing.T) {
	r := build(t, true, false, serveApp(t, app()), Config{})
	a := attack(t, r.first.addr)
	a.open(1, false, ":method", "POST", ":scheme", "http", ":authority", "a", ":path", "/hash")
	seen, ended := frames{}, make(chan struct{})
	go func() {
		defer close(ended)
		for {
			f, err := a.ReadFrame()
			if err != nil {
				return
			}
			switch h := f.Header(); h.Type {
			case http2.FrameHeaders, http2.FrameData:
				if h.Flags.Has(http2.FlagDataEndStream) {
					return
				}
			default:
				seen[h.Type]++
			}
		}
	}()
	r.first.eventually(t, "the call begins", func() bool { return r.first.e.inFlight == 1 })
	r.fallSilent(t, 10*time.Minute)
	const size = 60_000 // of the window that a connection begins with
	for i := range size / 100 {
		_ = a.WriteData(1, i == size/100-1, make([]byte, 100))
	}
	<-ended
	if seen[http2.FramePing] > 0 || seen[http2.FrameSettings] != 2 || seen[http2.FrameWindowUpdate] > 2 {
		t.Errorf("got %v", seen)
	}
}

// hang begins a call that is never answered; stop gives it up.
func (r *route) hang(t *testing.T) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		req, _ := http.NewRequestWithContext(ctx, "GET", r.url+"/hang", http.NoBody)
		if resp, err := r.client.Do(req); err == nil {
			_ = resp.Body.Close()
			t.Errorf("got %d", resp.StatusCode)
		}
	}()
	busy := func(n int) func() bool { return func() bool { return r.last.e.inFlight == n } }
	r.last.eventually(t, "the call begins", busy(1))
	return func() {
		cancel()
		<-ended
		r.last.eventually(t, "the call ends", busy(0))
	}
}

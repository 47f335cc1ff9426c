package forward

import (
	"bufio"
	"context"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/tulle-mesh/tulle/internal/testapp"
	"github.com/tulle-mesh/tulle/proxy/exchange"
	"github.com/tulle-mesh/tulle/proxy/flood"
)

// ways are the ways of an honest client's calls through the engine, by who the client is.
var ways = []struct {
	name          string
	local, meshed bool
}{
	{"local application to an unmeshed server", true, false},
	{"local application to a meshed peer", true, true},
	{"unmeshed client to the application", false, false},
}

// An outage with short deadlines ends calls and no connection: a call that is open all the while goes on, at the proxy
// of the client and at that of the server.
func TestOutageWithShortDeadlinesEndsNoConnection(t *testing.T) {
	for _, way := range ways[:2] {
		for name, c := range map[string]struct {
			deadline    time.Duration
			rate, calls int
		}{
			"900 a second":           {50 * time.Millisecond, 900, 5400},
			"1,800 a second":         {50 * time.Millisecond, 1800, 5400},
			"1,800 a second of 2 ms": {2 * time.Millisecond, 1800, 5400},
		} {
			t.Run(way.name+"/"+name, func(t *testing.T) {
				app := testapp.GRPC(t, func(s grpc.ServerStream) error {
					in := &wrapperspb.StringValue{}
					for s.RecvMsg(in) == nil {
						if in.Value != "wait" {
							_ = s.SendMsg(in)
						}
					}
					<-s.Context().Done()
					return s.Context().Err()
				})
				ends := make(chan ConnEnd, 10)
				r := build(
					t,
					true,
					way.meshed,
					app,
					Config{LocalClients: way.local, Ended: func(c ConnEnd) { ends <- c }},
				)
				client := testapp.Dial(t, r.first.addr)
				bystander := openCall(t, client)
				outage(t, client, c.deadline, c.rate, c.calls)
				bystander(t)
				if len(ends) > 0 {
					t.Errorf("a connection ended: %+v", <-ends)
				}
			})
		}
	}
}

// outage makes so many calls a second that get no answer.
func outage(t *testing.T, client *grpc.ClientConn, deadline time.Duration, rate, calls int) {
	t.Helper()
	ended := make(chan error, calls)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for i := 0; i < calls; {
		<-tick.C
		for range rate / 100 {
			i++
			go func() {
				ctx, cancel := context.WithTimeout(t.Context(), deadline)
				defer cancel()
				ended <- client.Invoke(ctx, "/outage/Call", wrapperspb.String("wait"), &wrapperspb.StringValue{})
			}()
		}
	}
	for range calls {
		if err := <-ended; err == nil {
			t.Error("a call was answered")
		}
	}
}

// openCall begins a call and returns a function that fails the test unless it still works.
func openCall(t *testing.T, c *grpc.ClientConn) (check func(*testing.T)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	s, err := c.NewStream(ctx, bidi, "/bystander/Bidi")
	if err != nil {
		t.Fatal(err)
	}
	check = func(t *testing.T) {
		t.Helper()
		if err := s.SendMsg(wrapperspb.String("hello")); err != nil {
			t.Fatalf("bystander: send: %v", err)
		}
		if err := s.RecvMsg(&wrapperspb.StringValue{}); err != nil {
			t.Fatalf("bystander: receive: %v", err)
		}
	}
	check(t)
	return check
}

// Clients of gRPC's answer each message with WINDOW_UPDATE and PING, to measure the connection.
func TestStreamOfSmallMessagesEndsNoConnection(t *testing.T) {
	const messages = 20_000
	for _, way := range ways {
		t.Run(way.name, func(t *testing.T) {
			app := testapp.GRPC(t, func(s grpc.ServerStream) error {
				if err := s.RecvMsg(&wrapperspb.StringValue{}); err != nil {
					return err
				}
				for range messages {
					if err := s.SendMsg(wrapperspb.String("x")); err != nil {
						return err
					}
				}
				return nil
			})
			r := build(t, true, way.meshed, app, Config{LocalClients: way.local})
			r.first.freeze() // no budget fills with time
			r.last.freeze()
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			s, err := testapp.Dial(t, r.first.addr).NewStream(ctx, bidi, "/stream/Download")
			if err != nil {
				t.Fatal(err)
			}
			if err := s.SendMsg(wrapperspb.String("go")); err != nil {
				t.Fatal(err)
			}
			n := 0
			for ; err == nil; n++ {
				err = s.RecvMsg(&wrapperspb.StringValue{})
			}
			if err != io.EOF || n != messages+1 { //nolint:errorlint // as gRPC promises
				t.Errorf("got %d messages, then %v", n-1, err)
			}
		})
	}
}

// freeze stops the engine's clock; it returns a function that moves it on.
func (p *proxy) freeze() (advance func(time.Duration)) {
	p.e.mu.Lock()
	defer p.e.mu.Unlock()
	now := time.Now()
	p.e.clock = func() time.Time { return now }
	return func(d time.Duration) {
		p.e.mu.Lock()
		defer p.e.mu.Unlock()
		now = now.Add(d)
	}
}

// clientFlood sends frames until it is done or the connection ends.
type clientFlood func(t *testing.T, a *attacker, p *proxy, advance func(time.Duration))

func repeat(n uint32, do func(a *attacker, id uint32) error) clientFlood {
	return func(_ *testing.T, a *attacker, _ *proxy, _ func(time.Duration)) {
		for i := range n {
			if do(a, 2*i+1) != nil {
				return
			}
		}
	}
}

func resetAtOnce(a *attacker, id uint32) error {
	_ = a.get(id, true)
	return a.WriteRSTStream(id, http2.ErrCodeCancel)
}

func malformed(a *attacker, id uint32) error { return a.get(id, true, "Upper", "x") }

// large answers requests that ask for it, with more than anybody reads; others wait.
func large(x *exchange.Exchange) Action {
	if _, ok := x.Request.Get("x-answer"); !ok {
		return WaitForEndpoint()
	}
	x.Response.Status = 200
	return Reply(make([]byte, 64<<10))
}

// resetLater resets n requests, 200 at a time, when they are as old.
func resetLater(n uint32, age time.Duration) clientFlood {
	return func(t *testing.T, a *attacker, p *proxy, advance func(time.Duration)) {
		arrived := func(want int) (done bool) {
			p.eventually(t, "the frames have arrived", func() bool {
				open := -1
				for c := range p.e.conns {
					if c, ok := c.proto.(*h2Conn); ok && c.state != h2Failed {
						open = len(c.streams)
					}
				}
				done = open < 0
				return done || open == want
			})
			return done
		}
		p.eventually(t, "the connection is accepted", func() bool { return len(p.e.conns) > 0 })
		for id := uint32(1); id < 2*n; id += 400 {
			for i := range uint32(200) {
				_ = a.get(id+2*i, true)
			}
			if arrived(200) {
				return
			}
			advance(age)
			for i := range uint32(200) {
				_ = a.WriteRSTStream(id+2*i, http2.ErrCodeCancel)
			}
			if arrived(0) {
				return
			}
		}
	}
}

// TestFloodsOfClients checks the reason that ends the connection of each kind of client; "" goes on. Beside floods
// stand what honest clients do in an outage. The clock stands still, so that no budget fills with time.
func TestFloodsOfClients(t *testing.T) {
	for name, c := range map[string]struct {
		flood                   clientFlood
		local, meshed, unmeshed string
	}{
		"1,800 requests, reset at once":           {repeat(1800, resetAtOnce), "", "", flood.RapidReset},
		"30,000 requests, reset at once":          {repeat(30_000, resetAtOnce), flood.RapidReset, "", flood.RapidReset},
		"30,000 requests, reset after 10 ms":      {resetLater(30_000, 10*time.Millisecond), "", "", flood.RapidReset},
		"1,800 malformed requests, CVE-2025-8671": {repeat(1800, malformed), "", "", "malformed_flood"},
		"30,000 malformed requests, CVE-2025-8671": {
			repeat(30_000, malformed), "malformed_flood", "malformed_flood", "malformed_flood",
		},
		"30,000 more streams than allowed": {
			repeat(30_000, func(a *attacker, id uint32) error { return a.get(id, false) }), "stream_flood",
			"stream_flood", "stream_flood",
		},
		"5,000 resets of a stream that has ended": {repeat(5000, func(a *attacker, id uint32) error {
			if id == 1 {
				_ = a.get(1, true)
			}
			return a.WriteRSTStream(1, http2.ErrCodeCancel)
		}), "control_flood", "control_flood", flood.RapidReset},
		"5,000 PING": {
			repeat(5000, func(a *attacker, _ uint32) error { return a.WritePing(false, [8]byte{}) }),
			"control_flood", "control_flood", "control_flood",
		},
		"5,000 SETTINGS": {
			repeat(5000, func(a *attacker, _ uint32) error { return a.WriteSettings() }), "control_flood",
			"control_flood", "control_flood",
		},
		"5,000 WINDOW_UPDATE of 1": {
			repeat(5000, func(a *attacker, _ uint32) error { return a.WriteWindowUpdate(0, 1) }), "window_flood",
			"window_flood", "window_flood",
		},
		"6,000 bytes of a response, one WINDOW_UPDATE each": {repeat(6000, func(a *attacker, id uint32) error {
			if id == 1 {
				_ = a.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize})
				_ = a.get(1, true, "x-answer", "x")
			}
			return a.WriteWindowUpdate(1, 1)
		}), "window_flood", "window_flood", "window_flood"},
		"5,000 PRIORITY": {
			repeat(5000, func(a *attacker, id uint32) error { return a.WritePriority(id, http2.PriorityParam{}) }),
			"control_flood", "control_flood", "control_flood",
		},
		"5,000 DATA frames, empty": {repeat(5000, func(a *attacker, id uint32) error {
			if id == 1 {
				_ = a.get(1, false)
			}
			return a.WriteData(1, false, nil)
		}), "empty_data_flood", "empty_data_flood", "empty_data_flood"},
	} {
		for kind, want := range map[flood.PeerKind]string{
			flood.LocalClient: c.local, flood.MeshedClient: c.meshed, flood.UnmeshedClient: c.unmeshed,
		} {
			t.Run(name+"/"+kind.String(), func(t *testing.T) {
				ends := make(chan ConnEnd, 10)
				protocol := HTTP2
				if kind == flood.MeshedClient {
					protocol = Mux
				}
				p := start(
					t,
					protocol,
					Config{LocalClients: kind == flood.LocalClient, Ended: func(c ConnEnd) { ends <- c }},
					&fixed{reply: large},
					nil,
				)
				advance := p.freeze()
				a := attack(t, p.addr)
				sent := make(chan struct{})
				go func() {
					defer close(sent)
					c.flood(t, a, p, advance)
					_ = a.WritePing(false, [8]byte{9})
				}()
				if got := a.reason(); got != want {
					t.Errorf("ended with %q, want %q", got, want)
				}
				_ = a.c.Close()
				<-sent
				wantEnds(t, ends, kind, want)
			})
		}
	}
}

// A meshed peer that resets too many streams keeps its connection: streams that are open go on, and new ones are
// refused until its budget fills. Each refusal is reported.
func TestMeshedClientOfManyResetsIsThrottled(t *testing.T) {
	const resets = 17_000
	var reported atomic.Int64
	p := start(t, Mux, Config{Report: func(_ *exchange.Conn, f exchange.Fault) {
		if f.Kind == exchange.Flood && f.Reason == flood.RapidReset {
			reported.Add(1)
		}
	}}, &fixed{reply: func(x *exchange.Exchange) Action {
		if _, ok := x.Request.Get("x-answer"); !ok {
			return WaitForEndpoint()
		}
		x.Response.Status = 200
		return Reply([]byte("hello"))
	}}, nil)
	advance := p.freeze()
	a := attack(t, p.addr)
	id := uint32(3)
	// outcome asks and returns how the stream ended.
	outcome := func() (code http2.ErrCode) {
		id += 2
		_ = a.get(id, true, "x-answer", "x")
		return a.outcome(t, id)
	}
	_ = a.get(1, true) // a stream that is open all the while
	if got := outcome(); got != http2.ErrCodeNo {
		t.Fatalf("the first request ended with %v", got)
	}
	for range resets {
		id += 2
		_ = resetAtOnce(a, id)
	}
	if got := outcome(); got != http2.ErrCodeRefusedStream || reported.Load() == 0 {
		t.Errorf(
			"a request after %d resets ended with %v, reported %d times; want it refused and reported",
			resets,
			got,
			reported.Load(),
		)
	}
	before := reported.Load()
	advance(time.Second)
	if got := outcome(); got != http2.ErrCodeNo || reported.Load() != before {
		t.Errorf("a second later a request ended with %v, want an answer", got)
	}
	p.e.mu.Lock()
	defer p.e.mu.Unlock()
	if p.e.inFlight != 1 {
		t.Errorf("%d requests are in flight, want the one that was open all the while", p.e.inFlight)
	}
}

// outcome reads up to the end of a stream and returns the code of its reset.
func (a *attacker) outcome(t *testing.T, id uint32) http2.ErrCode {
	t.Helper()
	for {
		f, err := a.ReadFrame()
		if err != nil {
			t.Fatalf("stream %d: %v", id, err)
		}
		switch h := f.Header(); {
		case h.Type == http2.FrameGoAway:
			t.Fatalf("stream %d: %v", id, f)
		case h.StreamID != id:
		case h.Type == http2.FrameRSTStream:
			return f.(*http2.RSTStreamFrame).ErrCode
		case (h.Type == http2.FrameData || h.Type == http2.FrameHeaders) && h.Flags.Has(http2.FlagDataEndStream):
			return http2.ErrCodeNo
		}
	}
}

// reason reads up to the connection's end, and returns its reason, or to the answer to the last ping.
func (a *attacker) reason() string {
	for {
		f, err := a.ReadFrame()
		if err != nil {
			return err.Error()
		}
		switch f := f.(type) {
		case *http2.GoAwayFrame:
			return string(f.DebugData())
		case *http2.PingFrame:
			if f.IsAck() && f.Data[0] == 9 {
				return ""
			}
		}
	}
}

// wantEnds checks that the end of a connection was reported once, and no end that did not happen.
func wantEnds(t *testing.T, ends chan ConnEnd, kind flood.PeerKind, reason string) {
	t.Helper()
	if reason == "" {
		if len(ends) > 0 {
			t.Errorf("told of %+v", <-ends)
		}
		return
	}
	var got ConnEnd
	select {
	case got = <-ends:
	case <-time.After(time.Minute):
		t.Fatalf("nothing ended, want %s", reason)
	}
	if got.Peer != kind || got.Fault.Reason != reason || got.Remote == nil || len(ends) > 0 {
		t.Errorf("told of %v %v and %d more, want %v %s alone", got.Peer, got.Fault, len(ends), kind, reason)
	}
}

// TestFloodsOfServers: what ends the connection to a server.
func TestFloodsOfServers(t *testing.T) {
	for name, c := range map[string]struct {
		do   func(fr *http2.Framer) error
		want string
	}{
		"PING": {
			func(fr *http2.Framer) error { return fr.WritePing(false, [8]byte{}) }, "control_flood",
		},
		"SETTINGS": {func(fr *http2.Framer) error { return fr.WriteSettings() }, "control_flood"},
		"PRIORITY": {
			func(fr *http2.Framer) error { return fr.WritePriority(1, http2.PriorityParam{}) }, "control_flood",
		},
		"WINDOW_UPDATE of 1": {
			func(fr *http2.Framer) error { return fr.WriteWindowUpdate(0, 1) }, "window_flood",
		},
		"resets of an ended stream": {
			func(fr *http2.Framer) error { return fr.WriteRSTStream(1, http2.ErrCodeNo) }, "control_flood",
		},
	} {
		for kind, protocol := range map[flood.PeerKind]Protocol{flood.UnmeshedServer: HTTP2, flood.MeshedServer: Mux} {
			t.Run(name+"/"+kind.String(), func(t *testing.T) {
				server := rawApp(t, func(_ int, conn net.Conn, br *bufio.Reader) {
					if _, err := io.ReadFull(br, make([]byte, len(http2.ClientPreface))); err != nil {
						return
					}
					fr := http2.NewFramer(conn, br)
					_ = fr.WriteSettings()
					for {
						if f, err := fr.ReadFrame(); err != nil {
							return
						} else if f.Header().Type == http2.FrameHeaders {
							break
						}
					}
					for range 6000 {
						if c.do(fr) != nil {
							break
						}
					}
					_, _ = io.Copy(io.Discard, br)
				})
				ends := make(chan ConnEnd, 10)
				p := start(t, HTTP2, Config{Ended: func(c ConnEnd) { ends <- c }}, &fixed{}, nil)
				p.freeze()
				p.h.to.Store(p.e.NewUpstream(UpstreamConfig{Protocol: protocol, Dial: dialTo(server)}))
				a := attack(t, p.addr)
				_ = a.get(1, true)
				wantEnds(t, ends, kind, c.want)
			})
		}
	}
}

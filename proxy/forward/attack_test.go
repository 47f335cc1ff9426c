package forward

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/tulle-mesh/tulle/internal/testapp"
	"github.com/tulle-mesh/tulle/proxy/exchange"
)

// attacker is a HTTP/2 client that obeys nothing.
type attacker struct {
	*http2.Framer
	c   net.Conn
	enc *hpack.Encoder
	buf bytes.Buffer
}

func attack(t *testing.T, addr string) *attacker {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	a := &attacker{Framer: http2.NewFramer(c, c), c: c}
	a.AllowIllegalWrites = true
	a.enc = hpack.NewEncoder(&a.buf)
	_, _ = io.WriteString(c, http2.ClientPreface)
	_ = a.WriteSettings()
	return a
}

func (a *attacker) block(fields ...string) []byte {
	a.buf.Reset()
	for i := 0; i < len(fields); i += 2 {
		_ = a.enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	return a.buf.Bytes()
}

func (a *attacker) get(id uint32, end bool, more ...string) error {
	fields := append([]string{":method", "GET", ":scheme", "http", ":authority", "a", ":path", "/"}, more...)
	return a.WriteHeaders(
		http2.HeadersFrameParam{StreamID: id, BlockFragment: a.block(fields...), EndStream: end, EndHeaders: true},
	)
}

// goAwayCode reads until the connection ends and returns the code of GOAWAY.
func (a *attacker) goAwayCode(t *testing.T) (code http2.ErrCode, sent bool) {
	t.Helper()
	for {
		f, err := a.ReadFrame()
		if err != nil {
			var timeout net.Error
			if errors.As(err, &timeout) && timeout.Timeout() {
				t.Fatal("the connection goes on")
			}
			return code, sent
		}
		if g, ok := f.(*http2.GoAwayFrame); ok {
			code, sent = g.ErrCode, true
		}
	}
}

// Each attack is repeated until the connection fails; the proxy must end it with the code, and soon.
func TestAttacksEndTheConnection(t *testing.T) {
	var requests atomic.Int64
	app := serveApp(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		_, _ = io.Copy(io.Discard, r.Body)
	}))
	for name, c := range map[string]struct {
		want http2.ErrCode
		do   func(a *attacker, i uint32) error
	}{
		"rapid reset, CVE-2023-44487": {http2.ErrCodeEnhanceYourCalm, func(a *attacker, i uint32) error {
			if err := a.get(2*i+1, true); err != nil {
				return err
			}
			return a.WriteRSTStream(2*i+1, http2.ErrCodeCancel)
		}},
		"WINDOW_UPDATE of 0, CVE-2025-8671": {http2.ErrCodeProtocol, func(a *attacker, i uint32) error {
			_ = a.get(2*i+1, false)
			return a.WriteWindowUpdate(2*i+1, 0)
		}},
		"WINDOW_UPDATE that overflows, CVE-2025-8671": {http2.ErrCodeEnhanceYourCalm, func(a *attacker, i uint32) error {
			_ = a.get(2*i+1, false)
			return a.WriteWindowUpdate(2*i+1, 1<<31-1)
		}},
		"PRIORITY of a wrong size, CVE-2025-8671": {http2.ErrCodeFrameSize, func(a *attacker, i uint32) error {
			_ = a.get(2*i+1, false)
			return a.WriteRawFrame(http2.FramePriority, 0, 2*i+1, []byte{0, 0, 0, 0})
		}},
		"PRIORITY on itself, CVE-2025-8671": {http2.ErrCodeProtocol, func(a *attacker, i uint32) error {
			_ = a.get(2*i+1, false)
			return a.WritePriority(2*i+1, http2.PriorityParam{StreamDep: 2*i + 1})
		}},
		"HEADERS after END_STREAM, CVE-2025-8671": {http2.ErrCodeStreamClosed, func(a *attacker, i uint32) error {
			_ = a.get(1, true)
			return a.get(1, true)
		}},
		"DATA after END_STREAM, CVE-2025-8671": {http2.ErrCodeStreamClosed, func(a *attacker, i uint32) error {
			_ = a.get(2*i+1, true)
			return a.WriteData(2*i+1, true, []byte("x"))
		}},
		"malformed requests": {http2.ErrCodeEnhanceYourCalm, func(a *attacker, i uint32) error {
			return a.get(2*i+1, true, "Upper", "x")
		}},
		"more streams than allowed": {http2.ErrCodeEnhanceYourCalm, func(a *attacker, i uint32) error {
			return a.get(2*i+1, false)
		}},
		"CONTINUATION without end, CVE-2024-27316": {http2.ErrCodeEnhanceYourCalm, func(a *attacker, i uint32) error {
			if i == 0 {
				return a.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: a.block(":method", "GET")})
			}
			return a.WriteContinuation(1, false, nil)
		}},
		"CONTINUATION of more than is read": {http2.ErrCodeEnhanceYourCalm, func(a *attacker, i uint32) error {
			if i == 0 {
				return a.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: a.block(":method", "GET")})
			}
			return a.WriteContinuation(1, false, make([]byte, 16<<10))
		}},
		"a list that is small on the wire alone": {http2.ErrCodeEnhanceYourCalm, func(a *attacker, i uint32) error {
			entry := a.block("x", strings.Repeat("v", 3900))
			return a.WriteHeaders(http2.HeadersFrameParam{
				StreamID: 1, BlockFragment: append(entry, bytes.Repeat([]byte{0x80 | 62}, 4<<10)...), EndHeaders: true,
			})
		}},
		"trailers that are too large": {http2.ErrCodeEnhanceYourCalm, func(a *attacker, i uint32) error {
			_ = a.get(2*i+1, false)
			large := strings.Repeat("v", 3900)
			return a.WriteHeaders(http2.HeadersFrameParam{
				StreamID: 2*i + 1, BlockFragment: a.block("x", large, "x", large), EndStream: true, EndHeaders: true,
			})
		}},
		"SETTINGS flood, CVE-2019-9515": {
			http2.ErrCodeEnhanceYourCalm, func(a *attacker, _ uint32) error { return a.WriteSettings() },
		},
		"PING flood, CVE-2019-9512": {
			http2.ErrCodeEnhanceYourCalm, func(a *attacker, _ uint32) error { return a.WritePing(false, [8]byte{}) },
		},
		"empty DATA flood, CVE-2019-9518": {http2.ErrCodeEnhanceYourCalm, func(a *attacker, i uint32) error {
			if i == 0 {
				return a.get(1, false)
			}
			return a.WriteData(1, false, nil)
		}},
		"windows in crumbs, CVE-2019-9511": {
			http2.ErrCodeEnhanceYourCalm, func(a *attacker, i uint32) error { return a.WriteWindowUpdate(0, 1) },
		},
		"PUSH_PROMISE from a client": {http2.ErrCodeProtocol, func(a *attacker, _ uint32) error {
			return a.WritePushPromise(http2.PushPromiseParam{StreamID: 1, PromiseID: 2, EndHeaders: true})
		}},
	} {
		t.Run(name, func(t *testing.T) {
			r := build(t, true, false, app, Config{MaxHeadBytes: 6 << 10})
			a := attack(t, r.first.addr)
			written := make(chan struct{})
			go func() {
				defer close(written)
				for i := uint32(0); i < 20_000; i++ {
					if c.do(a, i) != nil {
						return
					}
				}
			}()
			code, sent := a.goAwayCode(t)
			if sent && code != c.want {
				t.Errorf("GOAWAY %v, want %v", code, c.want)
			}
			a.c.Close()
			<-written
			resp, err := r.client.Get(r.url + "/")
			_ = readBody(t, resp, err) // others are served
		})
	}
	if n := requests.Load(); n > 20_000 {
		t.Errorf("the application saw %d requests", n)
	}
}

func TestUnknownFramesAreIgnored(t *testing.T) {
	app := serveApp(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {}))
	r := build(t, true, false, app, Config{})
	a := attack(t, r.first.addr)
	for typ := http2.FrameType(0x0a); typ < 0x20; typ++ {
		_ = a.WriteRawFrame(typ, 0xff, 0, []byte("anything"))
	}
	_ = a.get(1, true)
	for {
		f, err := a.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		if h, ok := f.(*http2.HeadersFrame); ok && h.StreamID == 1 {
			return
		}
	}
}

func TestHeaderListBombGets431(t *testing.T) {
	app := serveApp(
		t,
		http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { t.Error("the application saw it") }),
	)
	r := build(t, true, false, app, Config{})
	a := attack(t, r.first.addr)
	large := strings.Repeat("v", 3000)
	fields := []string{":method", "GET", ":scheme", "http", ":authority", "a", ":path", "/"}
	for range 40 {
		fields = append(fields, "x", large) // one entry of the table, referred to again and again
	}
	_ = a.WriteHeaders(
		http2.HeadersFrameParam{StreamID: 1, BlockFragment: a.block(fields...), EndStream: true, EndHeaders: true},
	)
	a.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	for {
		f, err := a.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		if h, ok := f.(*http2.MetaHeadersFrame); ok {
			if got := h.PseudoValue("status"); got != "431" {
				t.Errorf("status %s, want 431", got)
			}
			return
		}
	}
}

// SETTINGS say what ends the connection, and not what fails a stream: gRPC clients that know the latter fail with a
// status of their own.
func TestSettingsTellWhatEndsTheConnection(t *testing.T) {
	r := build(t, true, false, "127.0.0.1:1", Config{MaxHeadBytes: 100_000})
	f, err := attack(t, r.first.addr).ReadFrame()
	if err != nil {
		t.Fatal(err)
	}
	if got, ok := f.(*http2.SettingsFrame).Value(http2.SettingMaxHeaderListSize); !ok || got != 100_000+1<<20 {
		t.Errorf("SETTINGS_MAX_HEADER_LIST_SIZE is %d, want %d", got, 100_000+1<<20)
	}
}

// Heads in pieces take memory of the engine's, and none of it outlives them.
func TestHeadsInPiecesAreAccountedFor(t *testing.T) {
	app := serveApp(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {}))
	p := build(t, true, false, app, Config{MaxHeadsBytes: 400 << 10})
	heads := func() int {
		p.first.e.mu.Lock()
		defer p.first.e.mu.Unlock()
		return p.first.e.partialHeads
	}
	large := []string{
		":method",
		"GET",
		":scheme",
		"http",
		":authority",
		"a",
		":path",
		"/",
		"x",
		strings.Repeat("v", 300<<10),
	}
	send := func(a *attacker, end bool) {
		block := a.block(large...)
		_ = a.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block[:16<<10], EndStream: true})
		for block = block[16<<10:]; len(block) > 0; block = block[min(len(block), 16<<10):] {
			_ = a.WriteContinuation(1, end && len(block) <= 16<<10, block[:min(len(block), 16<<10)])
		}
	}
	first := attack(t, p.first.addr)
	first.listen()
	send(first, true)
	if status, _ := first.response(t, 1); status != "431" || heads() != 0 {
		t.Fatalf("got %s, %d bytes are held; want 431, 0", status, heads())
	}
	var stuck []*attacker
	for range 2 {
		stuck = append(stuck, attack(t, p.first.addr))
		send(stuck[len(stuck)-1], false)
	}
	code := http2.ErrCodeNo
	for i := 0; code == http2.ErrCodeNo && i < 2; i++ { // the later one is the one too many
		_ = stuck[1-i].c.SetDeadline(time.Now().Add(2 * time.Second))
		for {
			f, err := stuck[1-i].ReadFrame()
			if g, ok := f.(*http2.GoAwayFrame); ok {
				code = g.ErrCode
			}
			if err != nil {
				break
			}
		}
	}
	if code != http2.ErrCodeEnhanceYourCalm {
		t.Errorf("two heads of 300 KiB in 400 KiB: got %v", code)
	}
	for _, a := range stuck {
		a.c.Close()
	}
	for deadline := time.Now().Add(5 * time.Second); heads() != 0; {
		if time.Now().After(deadline) {
			t.Fatalf("%d bytes are held", heads())
		}
		runtime.Gosched()
	}
}

func TestSilentPrefaceTimesOut(t *testing.T) {
	r := build(t, true, false, "127.0.0.1:1", Config{HeadTimeout: 50 * time.Millisecond})
	c, br := r.connect(t)
	send(t, c, "P")
	if _, err := io.ReadAll(br); err != nil {
		t.Fatal(err)
	}
}

// A server that goes away in the middle: what it did not process is sent again, on another connection.
func TestRequestsThatGoAwayRefusesAreRetried(t *testing.T) {
	var conns atomic.Int64
	app := testapp.HTTP2(t, func(n int, s *testapp.Frames) {
		conns.Add(1)
		_ = s.WriteSettings()
		for id, ok := s.Request(); ok; id, ok = s.Request() {
			if n == 0 {
				_ = s.WriteGoAway(0, http2.ErrCodeNo, nil) // nothing was processed
				continue
			}
			s.OK(id)
		}
	})
	r := build(t, true, false, app, Config{})
	r.first.onFault(func(x *exchange.Exchange, f exchange.Fault) Action {
		if !f.SafeToResend {
			t.Errorf("got %v", f)
		}
		return Forward(r.first.h.to.Load())
	})
	resp, err := r.client.Get(r.url + "/")
	if _ = readBody(t, resp, err); resp.StatusCode != 200 || conns.Load() != 2 {
		t.Errorf("status %d over %d connections, want 200 over 2", resp.StatusCode, conns.Load())
	}
}

func TestPeerThatFellSilentIsGivenUp(t *testing.T) {
	peer := rawApp(t, func(_ int, c net.Conn, br *bufio.Reader) { _, _ = io.Copy(io.Discard, br) })
	r := build(t, true, false, peer, Config{Silence: 20 * time.Millisecond})
	r.first.h.to.Store(r.first.e.NewUpstream(UpstreamConfig{Protocol: Mux, Dial: dialTo(peer)}))
	r.first.onFault(func(x *exchange.Exchange, f exchange.Fault) Action {
		if f.Kind != exchange.Lost || !errors.Is(f.Err, errSilent) {
			t.Errorf("got %v", f)
		}
		x.Response.Status = 502
		return Reply(nil)
	})
	resp, err := r.client.Get(r.url + "/")
	if _ = readBody(t, resp, err); resp.StatusCode != 502 {
		t.Errorf("status %d", resp.StatusCode)
	}
}

func TestPeerThatIsSlowButLivesIsNot(t *testing.T) {
	app := serveApp(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select { // slow is what this test is about
		case <-time.After(300 * time.Millisecond):
		case <-r.Context().Done():
			t.Error("the request was given up")
		}
	}))
	r := build(t, true, true, app, Config{Silence: 40 * time.Millisecond})
	resp, err := r.client.Get(r.url + "/")
	if _ = readBody(t, resp, err); resp.StatusCode != 200 {
		t.Errorf("status %d", resp.StatusCode)
	}
}

// A head that begins and never ends is a slowloris, however HTTP/2 wraps it.
func TestHeadInPiecesTimesOut(t *testing.T) {
	for name, begin := range map[string]func(a *attacker){
		"no CONTINUATION": func(a *attacker) {
			_ = a.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: a.block(":method", "GET")})
		},
		"no SETTINGS": nil,
	} {
		t.Run(name, func(t *testing.T) {
			r := build(t, true, false, "127.0.0.1:1", Config{HeadTimeout: 50 * time.Millisecond})
			c, _ := r.connect(t)
			a := &attacker{Framer: http2.NewFramer(c, c), c: c}
			if begin == nil {
				send(t, c, http2.ClientPreface)
			} else {
				a = attack(t, r.first.addr)
				begin(a)
			}
			if code, _ := a.goAwayCode(t); code == http2.ErrCodeNo {
				t.Error("the connection ended without an error")
			}
		})
	}
}

// Many uploads that are refused at once are no attack, though their bodies go on for a while.
func TestBodiesOfRefusedUploadsAreIgnored(t *testing.T) {
	p := start(t, Mux, Config{}, &fixed{reply: refuse}, nil)
	a := attack(t, p.addr).listen()
	a.enc = hpack.NewEncoder(&a.buf)
	for i := range uint32(1000) {
		_ = a.get(2*i+1, false)
	}
	for i := range uint32(1000) {
		if err := a.WriteData(2*i+1, true, []byte("late")); err != nil {
			t.Fatal(err)
		}
	}
	_ = a.get(2001, true)
	if status, _ := a.response(t, 2001); status != "204" {
		t.Errorf("got %s", status)
	}
}

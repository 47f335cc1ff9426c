// Package testapp runs applications for tests of the proxy: raw TCP servers, HTTP/2 servers that break rules, and gRPC
// servers.
//
// It owns servers that end with their test. It must not import any package of Tulle. The one idea: a test decides about
// each byte or frame that its application sends. So it can do what no server library allows.
package testapp

import (
	"bytes"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// patience bounds how long a connection to an application lasts.
const patience = 20 * time.Second

// TCP runs an application that calls serve for each connection and closes the connection when serve returns. n counts
// connections from 0.
func TCP(t testing.TB, serve func(n int, c net.Conn)) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for n := 0; ; n++ {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_ = c.SetDeadline(time.Now().Add(patience))
			wg.Go(func() {
				defer c.Close()
				serve(n, c)
			})
		}
	})
	t.Cleanup(func() { _ = l.Close(); wg.Wait() })
	return l.Addr().String()
}

// Frames is the server's end of an HTTP/2 connection without TLS. It reads the frames of a head as one
// *http2.MetaHeadersFrame.
type Frames struct {
	*http2.Framer
	Conn net.Conn
	mu   sync.Mutex // held while a goroutine writes
	head bytes.Buffer
	enc  *hpack.Encoder
}

// HTTP2 runs a server that calls serve for each connection. The client's preface has been read, and nothing has been
// written.
func HTTP2(t testing.TB, serve func(n int, f *Frames)) (addr string) {
	t.Helper()
	return TCP(t, func(n int, c net.Conn) {
		if _, err := io.ReadFull(c, make([]byte, len(http2.ClientPreface))); err != nil {
			return
		}
		f := &Frames{Framer: http2.NewFramer(c, c), Conn: c}
		f.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
		f.enc = hpack.NewEncoder(&f.head)
		serve(n, f)
	})
}

// Requests runs a server that sends SETTINGS and then calls answer for each request's head. answer may send its
// response later.
func Requests(t testing.TB, answer func(n int, f *Frames, head *http2.MetaHeadersFrame)) (addr string) {
	t.Helper()
	return HTTP2(t, func(n int, f *Frames) {
		f.Do(func() { _ = f.WriteSettings() })
		for {
			frame, err := f.ReadFrame()
			if err != nil {
				return
			}
			if head, ok := frame.(*http2.MetaHeadersFrame); ok {
				answer(n, f, head)
			}
		}
	})
}

// Do calls write while no other goroutine writes frames.
func (f *Frames) Do(write func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	write()
}

// OK responds to a request with status 200 and no body.
func (f *Frames) OK(id uint32) { f.Head(id, true) }

// Head sends a response head with status 200. end ends the response.
func (f *Frames) Head(id uint32, end bool) {
	f.Do(func() {
		f.head.Reset()
		_ = f.enc.WriteField(hpack.HeaderField{Name: ":status", Value: "200"})
		_ = f.WriteHeaders(
			http2.HeadersFrameParam{StreamID: id, BlockFragment: f.head.Bytes(), EndHeaders: true, EndStream: end},
		)
	})
}

// Reset resets a stream.
func (f *Frames) Reset(id uint32, code http2.ErrCode) {
	f.Do(func() { _ = f.WriteRSTStream(id, code) })
}

// Request reads frames up to the end of the next request. ok is false if the connection ended.
func (f *Frames) Request() (id uint32, ok bool) {
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			return 0, false
		}
		switch h := frame.Header(); h.Type {
		case http2.FrameHeaders, http2.FrameData:
			if h.Flags.Has(http2.FlagDataEndStream) {
				return h.StreamID, true
			}
		}
	}
}

// GRPC runs a gRPC server that calls handle for each call of any method.
func GRPC(t testing.TB, handle func(grpc.ServerStream) error, options ...grpc.ServerOption) (addr string) {
	t.Helper()
	return ServeGRPC(
		t,
		grpc.NewServer(
			append(
				options,
				grpc.UnknownServiceHandler(func(_ any, s grpc.ServerStream) error { return handle(s) }),
			)...),
	)
}

// ServeGRPC runs a gRPC server.
func ServeGRPC(t testing.TB, s *grpc.Server) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() { _ = s.Serve(l) })
	t.Cleanup(func() { s.Stop(); wg.Wait() })
	return l.Addr().String()
}

// Dial returns a gRPC client without TLS. It connects at its first call.
func Dial(t testing.TB, addr string) *grpc.ClientConn {
	t.Helper()
	c, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// Package relay moves the bytes of one TCP connection between two sockets, whatever they mean.
//
// It owns copying, half-close and the passing on of resets; it must not decide where a connection goes. It imports the wire package
// and the standard library. The one idea: a direction holds a buffer, or a kernel pipe, only while bytes flow; an idle relay is two
// goroutines that wait for a descriptor.
package relay

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync/atomic"

	"github.com/tulle-mesh/tulle/proxy/wire"
)

// End is one side of a relay: a plain socket, or a TLS connection. Make it with Plain or Secure. It may be used by one relay.
type End struct {
	tcp  *net.TCPConn // nil unless the side is plain
	tls  *tls.Conn    // nil unless the side is TLS
	wire *wire.Conn
	// Read and Written count the bytes that came from and went to this side; nil counts nothing.
	Read, Written *atomic.Uint64
}

// Plain returns the side that speaks plaintext on c, of which somebody has read prefix already.
func Plain(c net.Conn, prefix []byte) *End {
	e := &End{wire: wire.New(c, prefix)}
	e.tcp, _ = c.(*net.TCPConn)
	return e
}

// Secure returns the side that speaks TLS on c. The connection below it must be a *wire.Conn made by wire.NewRecords.
func Secure(c *tls.Conn) *End {
	return &End{tls: c, wire: c.NetConn().(*wire.Conn)}
}

// Result says how a relay ended.
type Result struct {
	// A and B are the first error while reading or writing the end of that name; nil means an orderly end.
	A, B error
}

// Run copies both ways until both directions have ended, and closes both connections. An end of stream is passed on as such; any
// error resets the other side, so that a peer never takes a cut-off stream for a whole one. To end a relay early, close one of the
// connections.
func Run(a, b *End) Result {
	var r Result
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.B = direction(b, a)
	}()
	r.A = direction(a, b)
	<-done
	a.close()
	b.close()
	return r
}

// direction copies from src to dst until the stream ends.
func direction(src, dst *End) error {
	err := src.copyTo(dst)
	if err == nil {
		err = dst.closeWrite()
	}
	if err != nil {
		src.Abort()
		dst.Abort()
	}
	return err
}

func (e *End) copyTo(dst *End) error {
	switch {
	case e.tls != nil:
		return copySecure(e, dst)
	case e.tcp != nil && dst.tcp != nil:
		return splice(e, dst)
	default:
		return copyPlain(e, dst)
	}
}

// copyPlain moves what is read ahead from a plain socket; dst seals it where it lies.
func copyPlain(src, dst *End) error {
	for {
		if len(src.wire.Ahead()) == 0 {
			if err := src.wire.Fill(); err != nil {
				return endOfStream(err)
			}
		}
		n := len(src.wire.Ahead())
		count(src.Read, n)
		if err := dst.write(src.wire.Ahead()); err != nil {
			return err
		}
		src.wire.Discard(n)
	}
}

// copySecure gathers every record that has arrived, so that dst gets them in one write.
func copySecure(src, dst *End) error {
	for {
		if err := src.wire.Wait(); err != nil {
			return endOfStream(err)
		}
		if err := copyRecords(src, dst); err != nil {
			return endOfStream(err)
		}
	}
}

// maxPlain is the most that one TLS record holds. Source: RFC 8446 §5.1.
const maxPlain = 1 << 14

func copyRecords(src, dst *End) error {
	buf := plains.Get().(*[wire.BufferBytes]byte)
	defer plains.Put(buf)
	n := 0
	var err error
	for err == nil && src.wire.Readable() && len(buf)-n >= maxPlain {
		var m int
		m, err = src.tls.Read(buf[n:])
		n += m
	}
	if n > 0 {
		count(src.Read, n)
		if werr := dst.write(buf[:n]); werr != nil {
			return werr
		}
	}
	return err
}

func (e *End) write(b []byte) error {
	var err error
	if e.tls != nil {
		e.wire.Cork()
		_, err = e.tls.Write(b)
		err = errors.Join(err, e.wire.Flush())
	} else {
		_, err = e.wire.Write(b)
	}
	if err == nil {
		count(e.Written, len(b))
	}
	return err
}

func (e *End) closeWrite() error {
	if e.tls != nil {
		return ignoreClosed(e.tls.CloseWrite())
	}
	return ignoreClosed(e.wire.CloseWrite())
}

// ignoreClosed forgives that the peer has gone after it got everything.
func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) || isNotConnected(err) {
		return nil
	}
	return err
}

// Abort closes the connection with a reset instead of an orderly end. Any goroutine may call it to end a relay.
func (e *End) Abort() {
	if c, ok := e.wire.NetConn().(interface{ SetLinger(int) error }); ok {
		_ = c.SetLinger(0) // best effort: the connection may be gone
	}
	_ = e.wire.Close()
}

func (e *End) close() { _ = e.wire.Close() }

func endOfStream(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

func count(c *atomic.Uint64, n int) {
	if c != nil {
		c.Add(uint64(n))
	}
}

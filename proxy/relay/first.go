package relay

import (
	"context"
	"errors"
	"io"
	"os"
	"time"

	"github.com/tulle-mesh/tulle/proxy/sock"
)

// ClientFirst waits until one of two sides that were silent so far sends bytes or ends, or ctx is done. It reports
// whether the client has sent bytes and the server has not. It reads nothing, so Run may follow.
//
// A client that is silent for long waits for its server to speak. Or it keeps an HTTP connection in reserve, as
// browsers and Go's http.Transport do. Then its first bytes are a request, and must not be relayed as opaque. This also
// holds if the server ends the connection at that moment, as servers do with idle ones.
func ClientFirst(ctx context.Context, client, server *End) bool {
	a, b := client.reader(), server.reader()
	defer context.AfterFunc(ctx, func() { interrupt(a); interrupt(b) })()
	heard := make(chan error, 1)
	go func() {
		err := b.AwaitBytes()
		interrupt(a)
		heard <- err
	}()
	clientErr := a.AwaitBytes()
	interrupt(b)
	serverErr := <-heard
	client.Broke(clientErr)
	server.Broke(serverErr)
	// These fail only on a connection that is closed. Then Run fails too.
	_ = a.SetReadDeadline(time.Time{})
	_ = b.SetReadDeadline(time.Time{})
	return clientErr == nil && serverErr != nil && ctx.Err() == nil
}

// reader returns the side as a connection whose bytes can be awaited.
func (e *End) reader() *sock.Conn {
	if e.conn != nil {
		return e.conn
	}
	return sock.New(e.tcp, nil)
}

// Broke says that reading from the side has ended with an error before Run: the kernel reports it once, so Run would
// take it for an orderly end. nil, io.EOF and os.ErrDeadlineExceeded are no such errors.
func (e *End) Broke(err error) {
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, os.ErrDeadlineExceeded) {
		e.broken = err
	}
}

// interrupt makes AwaitBytes return.
func interrupt(c *sock.Conn) { _ = c.SetReadDeadline(time.Unix(1, 0)) }

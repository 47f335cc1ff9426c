package relay

import (
	"context"
	"errors"
	"net"
	"os"
	"time"

	"github.com/tulle-mesh/tulle/proxy/sock"
)

// ClientFirst waits until one of two sides that were silent so far sends bytes or ends, or ctx is done. It reports
// whether the client sends first. It reads nothing, so Run may follow.
//
// A client that is silent for long waits for its server to speak. Or it keeps an HTTP connection in reserve, as
// browsers and Go's http.Transport do. Then its first bytes are a request, and must not be relayed as opaque.
func ClientFirst(ctx context.Context, client net.Conn, server *End) bool {
	a, b := sock.New(client, nil), server.conn
	if b == nil {
		b = sock.New(server.tcp, nil)
	}
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
	// These fail only on a connection that is closed. Then Run fails too.
	_ = a.SetReadDeadline(time.Time{})
	_ = b.SetReadDeadline(time.Time{})
	return clientErr == nil && errors.Is(serverErr, os.ErrDeadlineExceeded) && ctx.Err() == nil
}

// interrupt makes AwaitBytes return, unless bytes are there.
func interrupt(c *sock.Conn) { _ = c.SetReadDeadline(time.Unix(1, 0)) }

// Package sock makes connections cheap to read and write in batches: one system call for everything that is ready, no buffer while
// idle, and crypto/tls above it when wanted.
package sock

import (
	"context"
	"crypto/tls"
	"net"
)

// Conn is a connection that the engine can drive without blocking. As a net.Conn it blocks like any other.
type Conn struct {
	net.Conn
	tls *tls.Conn
}

// New wraps a connection whose first bytes, prefix, were read from it already.
func New(nc net.Conn, prefix []byte) *Conn { return &Conn{Conn: nc} }

// Server performs the server's side of a TLS handshake over c and returns the connection above it.
func Server(ctx context.Context, c *Conn, cfg *tls.Config) (*Conn, error) {
	c.tls = tls.Server(c.Conn, cfg)
	return c, c.tls.HandshakeContext(ctx)
}

// Client performs the client's side of a TLS handshake over c and returns the connection above it.
func Client(ctx context.Context, c *Conn, cfg *tls.Config) (*Conn, error) {
	c.tls = tls.Client(c.Conn, cfg)
	return c, c.tls.HandshakeContext(ctx)
}

// TLS returns the state of the TLS connection; ok is false without TLS.
func (c *Conn) TLS() (state tls.ConnectionState, ok bool) {
	if c.tls == nil {
		return tls.ConnectionState{}, false
	}
	return c.tls.ConnectionState(), true
}

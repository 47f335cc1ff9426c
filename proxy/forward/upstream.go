package forward

import (
	"context"
	"net"
	"time"

	"github.com/tulle-mesh/tulle/proxy/exchange"
)

// UpstreamConfig describes the connections to one address.
type UpstreamConfig struct {
	// Dial makes a connection that is ready for Protocol, mesh TLS included: a *sock.Conn, or any other net.Conn at the price of a
	// goroutine for writing. The context carries no deadline: Dial bounds itself. An error that is an exchange.Fault (through
	// errors.As on *DialError) is passed on as it is; another becomes DialTimeout if it says so itself, else DialRefused.
	Dial     func(ctx context.Context) (net.Conn, error)
	Protocol Protocol
	// Conns is how many shared connections HTTP2 and Mux use; 0 means 1.
	Conns int
	// MaxConns bounds the connections of HTTP1, tunnels included; 0 means 10 000. Beyond it requests wait.
	MaxConns int
	// MaxWaiting bounds the requests that wait for a connection or a stream; 0 means 1 000. Beyond it they fail as Overloaded.
	MaxWaiting int
	// IdleTimeout closes connections that carried nothing for so long; 0 means 3 s for HTTP1 and 1 minute for HTTP2 and Mux.
	IdleTimeout time.Duration
	// Traffic counts the connections and their bytes; may be nil.
	Traffic *exchange.Traffic
	// Closed, when set, is told that a connection ended, how old it was and why; nil means that it ended in order.
	Closed func(age time.Duration, err error)
}

// DialError lets Dial say which fault its failure is.
type DialError struct{ Fault exchange.Fault }

func (e *DialError) Error() string { return e.Fault.String() }

// Unwrap returns the error behind the fault.
func (e *DialError) Unwrap() error { return e.Fault.Err }

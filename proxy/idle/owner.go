// Package idle owns accepted connections, and stores silent ones as bare descriptors.
//
// It owns an accepted connection from accept to end (Owner), and the descriptors of the connections that nobody reads
// (Pool). It must not import any package of the proxy and knows nothing about protocols. The one idea: a silent
// connection needs no goroutine, no buffers and no net.Conn, only a poller that sees when it becomes readable. So a pod
// with ten thousand idle clients needs a few hundred bytes for each.
package idle

import (
	"net"
	"slices"
	"time"
)

// After is how long a connection must be silent before it moves into a pool. It is longer than the pauses of an active
// client, because resuming costs a dozen system calls.
const After = time.Second

// Owner owns an accepted connection. The code that made it calls End when the connection has been served. End does
// nothing if a Pool has taken the connection. Only one goroutine may use an Owner.
type Owner struct {
	*net.TCPConn // nil once a Pool has the connection

	ends []func()
}

// NewOwner returns the owner of a connection.
func NewOwner(conn *net.TCPConn) *Owner { return &Owner{TCPConn: conn} }

// OnEnd adds a function that End calls. The function that was added last is called first.
func (o *Owner) OnEnd(end func()) { o.ends = append(o.ends, end) }

// End closes the connection and calls the functions of OnEnd.
func (o *Owner) End() {
	if o.TCPConn == nil {
		return
	}
	_ = o.TCPConn.Close() // fails if the connection is already closed, after an orderly end
	ended(o.ends)
}

func ended(ends []func()) {
	for _, end := range slices.Backward(ends) {
		end()
	}
}

// Package idle owns accepted connections, and keeps the silent ones as bare descriptors.
//
// It owns accepted connections: an Owner from accept to end, and a Pool the descriptors from which nothing is read. It
// must not import anything of the proxy and knows nothing of protocols. The one idea: a connection that has been silent
// for a while needs no goroutine, no buffers and no net.Conn, only somebody who sees that it became readable. So a pod
// with ten thousand idle clients pays a few hundred bytes for each.
package idle

import (
	"net"
	"slices"
	"time"
)

// After is how long a connection is silent before it moves into a pool. That is longer than the pauses of a client at
// work, because resuming costs a dozen system calls.
const After = time.Second

// Owner owns an accepted connection. Who made it calls End when the connection has been served; that does nothing if a
// Pool has taken it. Only one goroutine may use an Owner.
type Owner struct {
	*net.TCPConn // nil once a Pool has the connection

	ends []func()
}

// NewOwner returns the owner of a connection.
func NewOwner(conn *net.TCPConn) *Owner { return &Owner{TCPConn: conn} }

// OnEnd has end called when the connection has ended. What was added last is called first.
func (o *Owner) OnEnd(end func()) { o.ends = append(o.ends, end) }

// End closes the connection and calls what OnEnd was given.
func (o *Owner) End() {
	if o.TCPConn == nil {
		return
	}
	_ = o.TCPConn.Close() // closed already when it ended in order
	ended(o.ends)
}

func ended(ends []func()) {
	for _, end := range slices.Backward(ends) {
		end()
	}
}

// Package exchange holds the life record of a request and of a connection, and the taxonomy of what can go wrong with
// them.
//
// It owns Exchange, Conn, Traffic and Fault. It imports mesh and proxy/message only: the engine (proxy/forward) fills
// the records, the proxy's handler decides on them, and metrics and the access log read them. The one idea: everything
// about a request is in one value that ends exactly once.
package exchange

import (
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/proxy/message"
)

// Exchange is the record of one request: its heads, times, sizes and end. The engine reuses exchanges: do not use one,
// or bytes of its heads, after Handler.End. Only the goroutine that runs the handler may use it.
type Exchange struct {
	// Conn is the connection that the request came on.
	Conn *Conn
	// Request is the request's head as it goes upstream; the handler may edit it in Route and OnFault.
	Request message.Head
	// Response is the final response's head as it goes downstream; the handler may edit it in Response, and fills it for a
	// Reply.
	Response message.Head
	// Trailers of the response, if it had any; complete at End. gRPC's status is here, or in Response if the server sent
	// trailers only.
	Trailers message.Head

	// Begun is when the request's head was complete, Sent when it was last given to an upstream, Responded when the head
	// of the final response, or of the proxy's own, was ready to go downstream, Ended when the last byte of the response
	// was handed to the connection. All come from one clock reading a batch; a zero time means that it did not happen.
	Begun, Sent, Responded, Ended time.Time
	// Uploaded is when the last byte of the request's body so far went upstream, FirstByte when the first one of the
	// response's body came. They are known at End.
	Uploaded, FirstByte time.Time
	// RequestBytes and ResponseBytes count body bytes that were forwarded.
	RequestBytes, ResponseBytes int64
	// Attempts counts how often the request was given to an upstream, whether or not it left.
	Attempts int
	// Connecting says that the attempt which failed waited for a connection that was being made. The engine sets it before
	// OnFault.
	Connecting bool
	// CannotResend says why the request cannot be sent again, as a constant word: one of Final, TooManyAttempts,
	// NotBuffered, BodyTooLarge and BuffersFull, or "" if it can. The engine sets it before Response and OnFault.
	CannotResend string
	// Fault is why the exchange failed; zero when it did not. A fault after the final response's head means that it was
	// cut short.
	Fault Fault

	// Timeouts bound the exchange: Request the time from Begun to Ended, Response that from Begun to the final response's
	// head, Idle the time that no body byte moves. Attempt bounds the time from Sent to the final response's head: it ends
	// the attempt only, if the handler makes another. Zero means no bound. The handler sets them in Route.
	Timeouts mesh.Timeouts
	// BufferBody asks for a replay buffer: the beginning of the body is kept, so that the request can be sent again after
	// some of it has left. The handler sets it in the first Route.
	BufferBody bool

	// Data belongs to the handler. It outlives End: the next exchange in the same memory finds what the last one left, so
	// that the handler can reuse its own per-request state.
	Data any
}

// Reset makes x ready for the next request; it keeps memory and Data.
func (x *Exchange) Reset() {
	const reuseBytes = 8 << 10
	x.Request.Reset()
	x.Response.Reset()
	x.Trailers.Reset()
	x.Request.Shrink(reuseBytes)
	x.Response.Shrink(reuseBytes)
	x.Trailers.Shrink(reuseBytes)
	*x = Exchange{Request: x.Request, Response: x.Response, Trailers: x.Trailers, Data: x.Data}
}

// Conn describes an accepted connection for the exchanges on it. It is immutable once the engine serves the connection,
// but for what Traffic and Data point to.
type Conn struct {
	// Peer is the identity that the other side proved; zero without mesh TLS.
	Peer mesh.ID
	// Remote is the client's address, OrigDst the original destination: the address that the client connected to.
	Remote, OrigDst netip.AddrPort
	// Traffic counts the connection's bytes; nil counts nothing. The code that accepts a connection counts it.
	Traffic *Traffic
	// Data belongs to the handler: its state for the connection.
	Data any
}

// Traffic counts the bytes of one or more connections, as they are above TLS. Its methods and fields may be used by
// several goroutines.
type Traffic struct {
	ReadBytes, WrittenBytes atomic.Uint64
	// Opened counts connections; Open is how many are open now.
	Opened atomic.Uint64
	Open   atomic.Int64
}

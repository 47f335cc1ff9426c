// Package forward is the HTTP engine: it moves messages between connections. It owns connections from their first byte of HTTP on, the
// life of every exchange, flow control, retries' mechanics, timeouts, limits and draining. It must not import the proxy above it, nor
// anything of Kubernetes, metrics or logging: what happens to a request is its Handler's decision, what happened stands in the
// exchange. The one idea: no goroutine, timer or channel belongs to a request. A connection's reader does all the work that its bytes
// cause, up to the send buffer of another connection.
//
// # The turn
//
// All state (streams, queues, send buffers, upstreams, timers) is guarded by one lock, Engine.turn. A reader reads a batch from its socket
// and decrypts it, takes the turn, parses and forwards everything in the batch, and gives the turn back before anything is encrypted
// or written. It is a single-threaded event loop whose thread is whoever has something to do: no lock order, no races between the two
// ends of an exchange, and on the one CPU that a sidecar has, no contention. Handler and timers run with the turn and must not block.
//
// # From socket to socket
//
// A connection is a connection: sock.Conn below, a proto above (h1Server, h1Client, or h2Conn, which is both ends). conn.Receive is one
// batch. A request's head makes a flight, which asks the Handler where to go; Upstream.give finds a connection or dials one in the
// background while the flight waits. A flight has two bodies, the request's body and the response's. A reader (the connection that reads)
// writes into a body; its writer (the connection that writes) copies the bytes behind frame or chunk headers into its own send buffer at once,
// or, if windows or the send buffer have no room, leaves them in the body's queue and comes back when there is room.
//
//	reader of A: recvmsg, decrypt ─ turn ─ parse ─ flight, body ─ send buffer of B, send buffer of C … ─ settle ─ encrypt, write B, write C
//
// settle, at the end of each batch, flushes the connections that were written to. With more than one request in flight it first lets every
// other readable connection have its turn (one Gosched), so that many requests leave on a shared connection in one record and one
// system call. Writing never blocks: where the socket is full, conn.write takes over on a goroutine of its own until it is drained.
//
// # Backpressure
//
// A body tells its reader of bytes only once the writer's send buffer took them, and the send buffer takes no more than sendBufferRoom beyond what the
// socket takes. An HTTP/2 reader then grants the stream's window again, an HTTP/1 reader reads on. So nobody who sends faster than
// the other end reads makes the proxy hold more than one window. Streams share a connection in quanta (h2send.go).
//
// # Ends and faults
//
// A connection ends in order by drain: all of them when the proxy stops (Engine.Drain), one by one when they should carry nothing new
// (Engine.Retire). A client's takes no more requests and the next one dials; a server's tells its client to go elsewhere.
//
// Everything that goes wrong is an exchange.Fault and goes through flight.fault: before the response has begun, Handler.OnFault chooses
// another way or a reply; afterwards the client is told by a reset. The engine says whether the request can be sent again, because its
// body has not begun to leave or was kept (replay.go); whether it may be, is policy, and the Handler's. flight.finish
// ends every exchange exactly once. Its memory is recycled at the end of the batch, so that code up the stack may still look at it.
//
// A flight without a client (mirror.go) carries a copy of a request elsewhere, or lets a response run out that is not wanted. It asks the
// Handler nothing.
//
// Between proxies (Mux), HTTP/1 messages travel as HTTP/2 streams and are restored at the far end: two private fields carry what
// HTTP/2 has no place for (h2head.go). A tunnel (Upgrade, CONNECT) is a stream on a connection of its own.
package forward

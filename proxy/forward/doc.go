// Package forward is the HTTP engine: it moves messages between connections. It owns connections from their first byte
// of HTTP on: exchanges, flow control, the mechanics of retries, timeouts, limits and draining. It must not import the
// proxy above it, nor anything of Kubernetes, metrics or logging: the Handler decides what happens to a request, and
// the exchange records what happened. The one idea: no goroutine, timer or channel belongs to a request. A connection's
// reader does all the work that its bytes cause, up to the send buffer of another connection.
//
// # The lock
//
// One lock, Engine.mu, guards all state: streams, queues, send buffers, upstreams, timers. A reader reads a batch from
// its socket and decrypts it, takes the lock, parses and forwards everything in the batch, and gives the lock back
// before anything is encrypted or written. So the engine is a single-threaded event loop that runs on the goroutine
// which has something to do. There is no race between the two ends of an exchange and, on the one CPU that a sidecar
// has, no contention. Handlers and timers run with the lock and must not block. Engine.mu comes before every lock of a
// Handler; taskMu is the last of all.
//
// # From socket to socket
//
// A conn is a connection: sock.Conn below, a proto above (h1Server, h1Client, or h2Conn, which is both ends).
// conn.Receive takes one batch. A request's head makes a flight, which asks the Handler where to go. Upstream.assign
// finds a connection or dials one in the background while the flight waits. A flight has two bodies, the request's and
// the response's. The reader of a body (the conn that receives it) calls body.write. Its writer (the conn that sends
// it) copies the bytes into its own send buffer at once, behind frame or chunk headers. If windows or the send buffer
// have no room, the writer leaves the bytes in the body's queue and comes back when there is room.
//
//	reader of A: recvmsg, decrypt ─ beginBatch ─ parse ─ flight, body ─ send buffers of B, C … ─ endBatch ─ encrypt, write B, C
//
// endBatch flushes the connections that have something to send. With more than one request in flight it first lets
// every other readable connection run (one Gosched), so that many requests leave on a shared connection in one record
// and one system call. Writing never blocks: where the socket is full, conn.write takes over on a goroutine of its own.
//
// # Backpressure
//
// A body's reader learns of bytes that went on only when the writer's send buffer took them, and a send buffer takes no
// more than sendBufferRoom beyond what the socket takes. Then an HTTP/2 reader grants the stream's window again, and an
// HTTP/1 reader reads on. So a sender that is faster than the receiver makes the proxy hold one window at most. Streams
// share a connection in quanta (h2send.go).
//
// # Ends and faults
//
// A connection ends in order by drain: all of them when the proxy stops (Engine.Drain), single ones when they should
// carry nothing new (Engine.Retire). A server's connection takes no more requests, and the next request dials. A
// client's tells the client to go elsewhere.
//
// States only grow, and every state may end at once (conn.close, h2Conn.fail):
//
//	conn      open → FIN pending → FIN sent → finishing → closed     closeWrite, closeSoon, close
//	            └───────────────────────────────┘
//	reading   active ⇄ paused (a body waits), active ⇄ choked (send buffer full) → ended
//	h2Conn    open → draining → gone away (server's end only) → failed
//	            │      the first GOAWAY, or no new streams of ours; a second later the final one
//	            └ awaits preface (server's end only) → awaits SETTINGS → ready
//	liveness  heard → silent → pinged → closed; heard again with every byte (client's end of Mux)
//	idling    active → quiet → returning (HTTP/1 from a client); active again with every byte
//
// Beside them stand flags: a conn is being written to, has something to flush, ends with a reset, or is retired. An
// h2Conn waits for its window, has streams beyond the server's limit, or is throttled.
//
// Everything that goes wrong is an exchange.Fault and goes through flight.fault. Before the response has begun,
// Handler.OnFault chooses another upstream or a reply. Afterwards a reset tells the client. The engine says whether the
// request can be sent again: its body has not begun to leave, or is in the replay buffer (proxy/replay). Whether it may
// be sent again is policy, and the Handler's. flight.finish ends every exchange exactly once. Its memory is recycled at
// the end of the batch, because code up the stack may still look at it.
//
// A detached flight (mirror.go) has no client. It carries a copy of a request elsewhere, or receives the rest of a
// response that nobody wants. It asks the Handler nothing.
//
// Between proxies (Mux), HTTP/1 messages travel as HTTP/2 streams and are restored at the far end: two private fields
// carry what HTTP/2 has no place for. A tunnel (Upgrade, CONNECT) is a stream on a connection of its own.
package forward

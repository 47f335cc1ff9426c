package forward

import (
	"cmp"
	"context"
	"net"
	"slices"
	"time"

	"github.com/tulle-mesh/tulle/proxy/exchange"
	"github.com/tulle-mesh/tulle/proxy/h1"
	"github.com/tulle-mesh/tulle/proxy/list"
	"github.com/tulle-mesh/tulle/proxy/sock"
)

// UpstreamConfig describes the connections to one address.
type UpstreamConfig struct {
	// Dial makes a connection that is ready for Protocol, mesh TLS included: a *sock.Conn, or any other net.Conn at the
	// price of a goroutine for writing. Dial must bound itself; ctx ends with the engine. A *exchange.DialError names the
	// fault. Another error becomes DialTimeout if it is a timeout, otherwise DialRefused.
	Dial     func(ctx context.Context) (net.Conn, error)
	Protocol Protocol
	// MaxConns bounds the connections of HTTP1, tunnels included; 0 means 10 000. Beyond it requests wait.
	MaxConns int
	// Traffic counts the connections and their bytes; may be nil.
	Traffic *exchange.Traffic
	// Closed, when set, gets the age of each connection that ended, and why; nil means that it ended in order. It must
	// not block.
	Closed func(age time.Duration, err error)
}

func (c UpstreamConfig) withDefaults() UpstreamConfig {
	c.MaxConns = cmp.Or(c.MaxConns, 10_000)
	return c
}

const (
	// maxShared bounds the shared connections of HTTP2 and Mux to one address. The engine makes another when every open
	// one is full.
	maxShared = 16
	// maxAwaitingStream bounds the requests of one upstream that wait for a connection or a stream. Beyond it they fail as
	// Overloaded.
	maxAwaitingStream = 10_000
	// idleTimeoutHTTP1 and idleTimeoutShared close connections that carried nothing for as long.
	idleTimeoutHTTP1  = 3 * time.Second
	idleTimeoutShared = time.Minute
)

// Upstream is one address that requests are sent to, and the connections to it.
type Upstream struct {
	e           *Engine
	cfg         UpstreamConfig
	shared      []*h2Conn   // that take new streams
	rotation    int         // grows; modulo len(shared), the connection to try first
	idle        []*h1Client // idle, the latest last
	reuse       h1.Reuse
	open        int    // connections and dials
	dialing     int    // dials that are not for one tunnel
	streamLimit uint32 // how many the server took at once on its last shared connection
	waiting     list.List[*flight]
	closed      bool
}

// NewUpstream makes an upstream without any connection. The first request dials.
func (e *Engine) NewUpstream(cfg UpstreamConfig) *Upstream {
	return &Upstream{e: e, cfg: cfg.withDefaults(), streamLimit: firstStreams}
}

// Close lets the requests of u finish and then closes its connections. Later requests fail as Refused. A Handler's
// method may call it, and it never blocks.
func (u *Upstream) Close() { u.e.task(u.close) }

func (u *Upstream) close() {
	u.closed = true
	for _, c := range slices.Clone(u.idle) {
		c.drain()
	}
	for _, c := range slices.Clone(u.shared) {
		c.drain()
	}
}

// assign finds a connection for the flight, or queues it until there is one.
func (u *Upstream) assign(fl *flight) {
	switch {
	case u.closed:
		fl.fault(exchange.Fault{Side: exchange.Proxy, Kind: exchange.Refused, Reason: "endpoint_gone", SafeToResend: true})
	case u.cfg.Protocol == HTTP1:
		u.assignHTTP1(fl)
	case fl.wantsTunnel && u.cfg.Protocol == Mux:
		u.dial(fl) // a connection of its own: it may live for days and carry anything
	default:
		if c := u.pick(); c != nil {
			fl.sendOn(c)
			return
		}
		u.wait(fl)
	}
}

func (u *Upstream) assignHTTP1(fl *flight) {
	if s, ok := fl.down.(*h1Server); ok && s.pinned != nil {
		if c := s.pinned; c.u == u && c.cur == nil && !c.conn.closed() {
			fl.sendOn(c)
			return
		}
	}
	for n := len(u.idle); n > 0; n = len(u.idle) {
		c := u.idle[n-1]
		if !u.allows(c, fl) {
			break
		}
		u.idle[n-1] = nil
		u.idle = u.idle[:n-1]
		if !c.conn.closed() {
			fl.sendOn(c)
			return
		}
	}
	u.wait(fl)
}

// allows reports whether fl may take the idle connection c, or must, because no other can be made.
func (u *Upstream) allows(c *h1Client, fl *flight) bool {
	return u.open >= u.cfg.MaxConns || u.reuse.Allows(c.requests, u.e.now.Sub(c.idleSince), idempotent(fl))
}

// pick returns the next shared connection that can take a stream.
func (u *Upstream) pick() *h2Conn {
	for range u.shared {
		u.rotation++
		if c := u.shared[u.rotation%len(u.shared)]; c.takesStream() {
			return c
		}
	}
	return nil
}

// wait queues the flight and dials if not enough connections are on their way.
func (u *Upstream) wait(fl *flight) {
	if u.waiting.Len() >= maxAwaitingStream {
		fl.fault(exchange.Fault{Side: exchange.Proxy, Kind: exchange.Overloaded, Reason: "waiting"})
		return
	}
	u.waiting.Push(&fl.place, fl)
	fl.waiting = u
	u.dialEnough()
}

func (u *Upstream) dialEnough() {
	if u.cfg.Protocol != HTTP1 {
		if u.dialing == 0 && u.waiting.Len() > 0 && len(u.shared) < maxShared &&
			!slices.ContainsFunc(u.shared, (*h2Conn).awaitsSettings) {
			u.dial(nil)
		}
		return
	}
	for u.dialing < u.waiting.Len() && u.open < u.cfg.MaxConns {
		u.dial(nil)
	}
}

// dial makes a connection. If own is not nil, the connection is for that flight alone.
func (u *Upstream) dial(own *flight) {
	if u.e.stopped {
		return
	}
	u.open++
	if own == nil {
		u.dialing++
	} else {
		own.waiting = u
	}
	u.e.wg.Add(1)
	var ticket int64
	if own != nil {
		ticket = own.serial
	}
	go u.connect(own, ticket)
}

// connect is the goroutine of a connection: it dials and then reads.
func (u *Upstream) connect(own *flight, ticket int64) {
	e := u.e
	defer e.wg.Done()
	conn, err := u.cfg.Dial(e.ctx)
	e.beginBatch()
	if own != nil && !own.awaits(ticket, u) {
		// The flight gave up meanwhile, and its memory may serve another exchange.
		if err == nil {
			_ = conn.Close()
		}
		u.open--
		e.endBatch()
		return
	}
	if own == nil {
		u.dialing--
	}
	if err != nil {
		u.open--
		u.dialFailed(own, exchange.DialFault(err))
		e.endBatch()
		return
	}
	c := newConn(e, sock.New(conn, nil), u.cfg.Traffic)
	c.onClose = func(err error) {
		u.open--
		u.dialEnough()
		if u.cfg.Closed != nil {
			u.cfg.Closed(time.Since(c.born), err)
		}
	}
	u.connected(c, own)
	e.endBatch()
	_ = c.serve(false)
}

func (u *Upstream) connected(conn *conn, own *flight) {
	if u.cfg.Protocol == HTTP1 {
		c := newH1Client(conn, u)
		conn.proto = c
		u.putIdle(c)
		return
	}
	c := newH2Conn(conn, u.cfg.Protocol == Mux, u)
	conn.proto = c
	if own != nil {
		c.private = true
		own.waiting = nil
		own.sendOn(c)
		return
	}
	u.shared = append(u.shared, c)
	u.serveWaiting()
	if len(c.streams) == 0 {
		u.e.wheel.Set(&conn.timer, u.e.now.Add(c.idleTimeout()))
	}
	if u.closed {
		c.drain()
	}
}

// dialFailed passes on the fault of a dial. A shared connection was for everyone who waits, another for the flight that
// waits longest.
func (u *Upstream) dialFailed(own *flight, f exchange.Fault) {
	if own != nil {
		own.waiting = nil
		own.fault(f)
		return
	}
	n := 1
	if u.cfg.Protocol != HTTP1 {
		n = u.waiting.Len()
	}
	for ; n > 0 && u.waiting.First() != nil; n-- {
		fl := u.waiting.First()
		fl.unlist()
		fl.fault(f)
	}
	u.dialEnough() // MaxConns has room for another
}

// putIdle gives a free HTTP/1 connection to the first flight that waits, or makes it idle.
func (u *Upstream) putIdle(c *h1Client) {
	c.idleSince = u.e.now
	if fl := u.waiting.First(); fl != nil && (u.dialing == 0 || u.allows(c, fl)) {
		fl.sendOn(c)
		return
	}
	if u.closed {
		c.conn.close(nil)
		return
	}
	u.idle = append(u.idle, c)
	u.e.wheel.Set(&c.conn.timer, u.e.now.Add(idleTimeoutHTTP1))
}

// removeIdle takes a closed HTTP/1 connection out of the idle ones.
func (u *Upstream) removeIdle(c *h1Client) {
	if i := slices.Index(u.idle, c); i >= 0 {
		u.idle = slices.Delete(u.idle, i, i+1)
	}
}

// serveWaiting gives streams to the flights that wait for one.
func (u *Upstream) serveWaiting() {
	for u.waiting.First() != nil {
		c := u.pick()
		if c == nil {
			u.dialEnough()
			return
		}
		u.waiting.First().sendOn(c)
	}
}

// removeShared takes a shared connection out of the choice.
func (u *Upstream) removeShared(c *h2Conn) {
	if i := slices.Index(u.shared, c); i >= 0 {
		u.shared = slices.Delete(u.shared, i, i+1)
	}
	u.dialEnough()
}

package forward

import (
	"cmp"
	"time"

	"github.com/tulle-mesh/tulle/proxy/exchange"
)

// Protocol says how a connection carries messages.
type Protocol uint8

// The protocols of a connection.
const (
	HTTP1 Protocol = iota
	// HTTP2 is HTTP/2 with prior knowledge, to or from an application.
	HTTP2
	// Mux is HTTP/2 between two proxies of the mesh: more streams, HTTP/1 messages restored at the far end, tunnels.
	Mux
)

func (p Protocol) String() string { return [...]string{"HTTP/1", "HTTP/2", "mux"}[p] }

// maxStreams is how many concurrent streams an HTTP2 connection may open. A Mux connection may open 16 times as many.
const maxStreams = 250

// maxExchanges bounds the requests in flight. Beyond it they fail as Overloaded.
const maxExchanges = 100_000

// Config bounds an Engine. The zero Config is usable: every zero field means its default.
type Config struct {
	// MaxHeadBytes bounds a message head and a trailer section, counted as RFC 9113 §6.5.2 does; 64 KiB. Beyond it the
	// exchange fails. More than 1 MiB beyond it, the connection of HTTP2 and Mux fails. SETTINGS_MAX_HEADER_LIST_SIZE
	// tells peers the second bound: a client that knew the first would fail on its own side, with a status that does
	// not say why.
	MaxHeadBytes int
	// MaxHeadsBytes bounds the memory of the large heads (beyond 8 KiB) of exchanges in flight; 64 MiB. Beyond it
	// exchanges with such a head fail as Overloaded. HTTP/2 heads that are not complete may take as much; beyond it the
	// connection that sends one ends.
	MaxHeadsBytes int
	// MaxWaiting bounds the exchanges that wait for an endpoint, and those that wait for a time; 10 000 each.
	MaxWaiting int
	// MaxQueuedBytes is how much memory with body bytes the engine holds before every sender waits for its receiver; 32
	// MiB. At eight times as much it gives up exchanges that would queue more.
	MaxQueuedBytes int
	// MaxReplayBytes bounds the memory of all replay buffers; 16 MiB. Beyond it, bodies are not copied.
	MaxReplayBytes int
	// MaxCopies bounds the mirrored requests in flight; 1 000. Beyond it requests are not mirrored.
	MaxCopies int
	// EndpointTimeout is how long an exchange waits for an endpoint (fail-fast); 3 s.
	EndpointTimeout time.Duration
	// HeadTimeout is how long a request's head may take from its first to its last byte, and an HTTP/2 preface; 10 s.
	HeadTimeout time.Duration
	// IdleAfter is how long an HTTP/1 connection is silent between two requests before Serve returns ErrIdle, give or
	// take a factor of two. With hundreds of connections it is a quarter of that. 0 means never.
	IdleAfter time.Duration
	// Silence is how long the server's end of a Mux connection may owe answers and say nothing before it is pinged, and
	// then how long it may take to answer; 5 s. So the requests on a connection to a node that is gone fail within
	// three times as long. Other servers are not pinged: the dialler sets TCP keepalive.
	Silence time.Duration
	// Stall is how long a body may all but stand still before its receiver while the queues are full; 5 s. Then its
	// exchange is given up.
	Stall time.Duration
	// RestoreHTTP1 makes requests on HTTP2 connections HTTP/1 again if their l5d-orig-proto says that they were.
	// Linkerd's proxies send HTTP/1 so, in plain text, to every pod with the label of any control plane, whatever its
	// application speaks.
	RestoreHTTP1 bool
	// LocalClients says that the clients are processes of this pod. They harm nobody else by resetting many requests.
	LocalClients bool
	// Report, when set, gets faults of connections that belong to no exchange, such as a flood. It must not block.
	Report func(c *exchange.Conn, f exchange.Fault)
	// Ended, when set, gets each HTTP/2 connection that the engine ends because its peer breaks the rules or floods it.
	// It must not block.
	Ended func(ConnEnd)
}

func (c Config) withDefaults() Config {
	c.MaxHeadBytes = cmp.Or(c.MaxHeadBytes, 64<<10)
	c.MaxHeadsBytes = cmp.Or(c.MaxHeadsBytes, 64<<20)
	c.MaxWaiting = cmp.Or(c.MaxWaiting, 10_000)
	c.MaxQueuedBytes = cmp.Or(c.MaxQueuedBytes, 32<<20)
	c.MaxReplayBytes = cmp.Or(c.MaxReplayBytes, 16<<20)
	c.MaxCopies = cmp.Or(c.MaxCopies, 1_000)
	c.EndpointTimeout = cmp.Or(c.EndpointTimeout, 3*time.Second)
	c.HeadTimeout = cmp.Or(c.HeadTimeout, 10*time.Second)
	c.Silence = cmp.Or(c.Silence, 5*time.Second)
	c.Stall = cmp.Or(c.Stall, 5*time.Second)
	if c.Report == nil {
		c.Report = func(*exchange.Conn, exchange.Fault) {}
	}
	if c.Ended == nil {
		c.Ended = func(ConnEnd) {}
	}
	return c
}

package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/tulle-mesh/tulle/internal/certs"
	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/proxy/exchange"
	"github.com/tulle-mesh/tulle/proxy/forward"
	"github.com/tulle-mesh/tulle/proxy/message"
	"github.com/tulle-mesh/tulle/proxy/relay"
	"github.com/tulle-mesh/tulle/proxy/sock"
	"github.com/tulle-mesh/tulle/proxy/stats"
)

// endpoint is one address of a target: how it is connected to and counted. Its connections and metrics are made at first use, so
// that ten thousand endpoints of which ten are used cost ten.
type endpoint struct {
	mesh.Endpoint
	proxy    *Proxy
	common   stats.Labels // of the target
	loopback bool         // this proxy's own pod: plaintext that never leaves it
	round    uint32       // of the service's update that it was in last; guarded by target.mu

	mu        sync.Mutex // guards the fields below
	upstreams [3]*forward.Upstream
	relayTLS  *tls.Config
	httpStats *stats.HTTP
	tcpStats  *stats.TCP
	release   []func()
	closed    bool
}

// newEndpoint describes an endpoint of a target. common are the labels of the target.
func (p *Proxy) newEndpoint(e mesh.Endpoint, common stats.Labels) *endpoint {
	return &endpoint{Endpoint: e, proxy: p, common: common, loopback: p.isOwn(e.Addr.Addr())}
}

// labels are those of everything about this endpoint: half a kilobyte, which only those that are used need.
func (ep *endpoint) labels() stats.Labels {
	return endpointLabels(ep.common, &ep.Endpoint, ep.loopback)
}

// same reports whether nothing that connections depend on differs.
func (ep *endpoint) same(e *mesh.Endpoint) bool {
	return ep.Addr == e.Addr && ep.Identity == e.Identity && ep.Pod == e.Pod && ep.Zone == e.Zone && ep.Local == e.Local
}

// meshed reports whether connections must be mesh TLS. An endpoint with an identity is never spoken to in plaintext, except inside
// this proxy's own pod.
func (ep *endpoint) meshed() bool { return !ep.Identity.IsZero() && !ep.loopback }

// upstream returns where requests of that version are given.
func (ep *endpoint) upstream(v message.Version) *forward.Upstream {
	protocol := forward.HTTP1
	switch {
	case ep.meshed():
		protocol = forward.Mux
	case v == message.HTTP2:
		protocol = forward.HTTP2
	}
	ep.mu.Lock()
	defer ep.mu.Unlock()
	if up := ep.upstreams[protocol]; up != nil {
		return up
	}
	dial := ep.dialPlain
	switch protocol {
	case forward.Mux:
		config := ep.proxy.certs.ClientTLS(ep.Identity, mesh.ALPNMux)
		dial = func(ctx context.Context) (net.Conn, error) { return ep.dialMux(ctx, config) }
	case forward.HTTP2:
		dial = ep.dialHTTP2
	}
	tcp := ep.tcpLocked()
	up := ep.proxy.outbound.engine.NewUpstream(forward.UpstreamConfig{
		Dial: dial, Protocol: protocol, Traffic: &tcp.Traffic, Closed: tcp.Close,
	})
	ep.upstreams[protocol] = up
	if ep.closed { // a request that was routed before the endpoint went away ends in order
		up.Close()
	}
	return up
}

// http returns the counters of requests to the endpoint.
func (ep *endpoint) http() *stats.HTTP {
	ep.mu.Lock()
	defer ep.mu.Unlock()
	if ep.httpStats == nil {
		var release func()
		ep.httpStats, release = ep.proxy.stats.HTTP(ep.labels())
		ep.release = append(ep.release, release)
	}
	return ep.httpStats
}

// tcp returns the counters of connections to the endpoint.
func (ep *endpoint) tcp() *stats.TCP {
	ep.mu.Lock()
	defer ep.mu.Unlock()
	return ep.tcpLocked()
}

func (ep *endpoint) tcpLocked() *stats.TCP {
	if ep.tcpStats == nil {
		var release func()
		ep.tcpStats, release = ep.proxy.stats.TCP(stats.Labels(`peer="dst"`).Join(ep.labels()))
		ep.release = append(ep.release, release)
	}
	return ep.tcpStats
}

// close lets what is in flight finish. It never blocks.
func (ep *endpoint) close() {
	ep.mu.Lock()
	upstreams, release := ep.upstreams, ep.release
	ep.closed = true
	ep.release = nil
	ep.mu.Unlock()
	for _, up := range upstreams {
		if up != nil {
			up.Close()
		}
	}
	for _, r := range release {
		r()
	}
}

func (ep *endpoint) dialPlain(ctx context.Context) (net.Conn, error) {
	c, err := dialTCP(ctx, ep.Addr, ep.proxy.times.outboundConnect)
	if err != nil {
		return nil, err
	}
	return sock.New(c, nil), nil
}

func (ep *endpoint) dialMux(ctx context.Context, config *tls.Config) (net.Conn, error) {
	c, err := dialTCP(ctx, ep.Addr, ep.proxy.times.outboundConnect)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, ep.proxy.times.handshake)
	defer cancel()
	secured, err := sock.Client(ctx, sock.New(c, nil), config)
	if err != nil {
		_ = c.Close()
		return nil, handshakeFault(err)
	}
	return secured, nil
}

// dialRelay connects for one opaque connection.
func (ep *endpoint) dialRelay(ctx context.Context) (*relay.End, error) {
	c, err := dialTCP(ctx, ep.Addr, ep.proxy.times.outboundConnect)
	if err != nil {
		return nil, err
	}
	if !ep.meshed() {
		return relay.Plain(c, nil), nil
	}
	ctx, cancel := context.WithTimeout(ctx, ep.proxy.times.handshake)
	defer cancel()
	secured, err := sock.Client(ctx, sock.New(c, nil), ep.relayConfig())
	if err != nil {
		_ = c.Close()
		return nil, handshakeFault(err)
	}
	return relay.Secure(secured), nil
}

func (ep *endpoint) relayConfig() *tls.Config {
	ep.mu.Lock()
	defer ep.mu.Unlock()
	if ep.relayTLS == nil {
		ep.relayTLS = ep.proxy.certs.ClientTLS(ep.Identity, mesh.ALPNRelay)
	}
	return ep.relayTLS
}

// dialTCP connects to an address; its errors are *forward.DialError.
func dialTCP(ctx context.Context, addr netip.AddrPort, timeout time.Duration) (*net.TCPConn, error) {
	dialer := net.Dialer{Timeout: timeout, KeepAliveConfig: net.KeepAliveConfig{Enable: true}}
	c, err := dialer.DialContext(ctx, "tcp", addr.String())
	if err != nil {
		kind := exchange.DialRefused
		if isTimeout(err) {
			kind = exchange.DialTimeout
		}
		return nil, dialFault(kind, "", err)
	}
	return c.(*net.TCPConn), nil
}

// handshakeFault says whose fault a failed handshake is: certs names a peer that is not who it must be, all else is a connection that
// could not be made.
func handshakeFault(err error) error {
	var peer *certs.PeerError
	var cut net.Error
	switch {
	case errors.As(err, &peer):
		return dialFault(exchange.Identity, string(peer.Reason), err)
	case errors.Is(err, certs.ErrNoCertificate):
		return dialFault(exchange.Identity, "no_certificate", err)
	case isTimeout(err):
		return dialFault(exchange.DialTimeout, "tls_handshake", err)
	case errors.As(err, &cut), errors.Is(err, io.EOF):
		return dialFault(exchange.DialRefused, "tls_handshake", err)
	default:
		return dialFault(exchange.Identity, "tls_handshake", err)
	}
}

func dialFault(kind exchange.Kind, reason string, err error) error {
	return &forward.DialError{Fault: exchange.Fault{Side: exchange.Upstream, Kind: kind, Retryable: true, Reason: reason, Err: err}}
}

func isTimeout(err error) bool {
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded)
}

// faultOf returns the fault that an error of dialling stands for.
func faultOf(err error) exchange.Fault {
	var dial *forward.DialError
	if errors.As(err, &dial) {
		return dial.Fault
	}
	return exchange.Fault{Side: exchange.Upstream, Kind: exchange.DialRefused, Retryable: true, Err: err}
}

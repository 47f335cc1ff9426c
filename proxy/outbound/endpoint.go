package outbound

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"

	"github.com/tulle-mesh/tulle/identity/workload"
	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/proxy/env"
	"github.com/tulle-mesh/tulle/proxy/exchange"
	"github.com/tulle-mesh/tulle/proxy/forward"
	"github.com/tulle-mesh/tulle/proxy/message"
	"github.com/tulle-mesh/tulle/proxy/relay"
	"github.com/tulle-mesh/tulle/proxy/sock"
	"github.com/tulle-mesh/tulle/proxy/stats"
)

// endpoint is one address of a target: how it is connected to and counted. Its connections and metrics are made at
// first use, so that only endpoints in use cost memory.
type endpoint struct {
	mesh.Endpoint
	service  *service
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

// newEndpoint makes an endpoint of the service. common are the labels of the target.
func (s *service) newEndpoint(e mesh.Endpoint, common stats.Labels) *endpoint {
	return &endpoint{Endpoint: e, service: s, common: common, loopback: s.env.Self.OwnsAddr(e.Addr.Addr())}
}

// labels returns the labels of everything about this endpoint. They take half a kilobyte, so they are made only for
// endpoints in use.
func (ep *endpoint) labels() stats.Labels {
	return stats.EndpointLabels(ep.common, &ep.Endpoint, ep.loopback)
}

// same reports whether connections to e, and their labels, would be those of ep. common are the labels of the target.
func (ep *endpoint) same(e *mesh.Endpoint, common stats.Labels) bool {
	return ep.Addr == e.Addr && ep.Identity == e.Identity && ep.Pod == e.Pod && ep.Zone == e.Zone &&
		ep.Local == e.Local && ep.common == common
}

// meshed reports whether connections must be mesh TLS. The proxy never uses plaintext to an endpoint with an identity,
// except inside its own pod.
func (ep *endpoint) meshed() bool { return !ep.Identity.IsZero() && !ep.loopback }

// upstream returns the connections that requests of that version go to.
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
		config := ep.service.env.Certs.ClientTLS(ep.Identity, mesh.ALPNMux)
		dial = func(ctx context.Context) (net.Conn, error) { return ep.dialMux(ctx, config) }
	case forward.HTTP2:
		dial = ep.dialHTTP2
	}
	tcp := ep.tcpLocked()
	up := ep.service.engine.NewUpstream(forward.UpstreamConfig{
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
		ep.httpStats, release = ep.service.env.Stats.HTTP(ep.labels())
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
		ep.tcpStats, release = ep.service.env.Stats.TCP(stats.DstLabels(ep.labels()))
		ep.release = append(ep.release, release)
	}
	return ep.tcpStats
}

// close closes the connections once their requests have ended. It never blocks.
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
	c, err := env.Dial(ctx, ep.Addr, ep.service.env.Times.OutboundConnect)
	if err != nil {
		return nil, err
	}
	return sock.New(c, nil), nil
}

func (ep *endpoint) dialMux(ctx context.Context, config *tls.Config) (net.Conn, error) {
	c, err := env.Dial(ctx, ep.Addr, ep.service.env.Times.OutboundConnect)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, ep.service.env.Times.Handshake)
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
	c, err := env.Dial(ctx, ep.Addr, ep.service.env.Times.OutboundConnect)
	if err != nil {
		return nil, err
	}
	if !ep.meshed() {
		return relay.Plain(c, nil), nil
	}
	ctx, cancel := context.WithTimeout(ctx, ep.service.env.Times.Handshake)
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
		ep.relayTLS = ep.service.env.Certs.ClientTLS(ep.Identity, mesh.ALPNRelay)
	}
	return ep.relayTLS
}

// handshakeFault maps the error of a handshake to a fault: an error of certs means that the peer is not who it must be.
// Other errors mean that no connection could be made.
func handshakeFault(err error) error {
	var peer *workload.PeerError
	var cut net.Error
	switch {
	case errors.As(err, &peer):
		return exchange.NewDialError(exchange.Identity, string(peer.Reason), err)
	case errors.Is(err, workload.ErrNoCertificate):
		return exchange.NewDialError(exchange.Identity, "no_certificate", err)
	case env.IsTimeout(err):
		return exchange.NewDialError(exchange.DialTimeout, "tls_handshake", err)
	case errors.As(err, &cut), errors.Is(err, io.EOF):
		return exchange.NewDialError(exchange.DialRefused, "tls_handshake", err)
	default:
		return exchange.NewDialError(exchange.Identity, "tls_handshake", err)
	}
}

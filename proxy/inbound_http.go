package proxy

import (
	"context"
	"net"
	"net/netip"
	"sync"

	"go.uber.org/zap"

	"github.com/tulle-mesh/tulle/proxy/authz"
	"github.com/tulle-mesh/tulle/proxy/exchange"
	"github.com/tulle-mesh/tulle/proxy/forward"
	"github.com/tulle-mesh/tulle/proxy/message"
	"github.com/tulle-mesh/tulle/proxy/sock"
	"github.com/tulle-mesh/tulle/proxy/stats"
)

// app is an application's port and the connections to it.
type app struct {
	addr    netip.AddrPort
	holders int // guarded by inbound.mu: open connections from peers

	mu        sync.Mutex // guards the fields below
	upstreams [2]*forward.Upstream
	tcp       *stats.TCP
	release   func()
}

// app returns the port's state and holds it until releaseApp.
func (in *inbound) app(addr netip.AddrPort) *app {
	in.mu.Lock()
	defer in.mu.Unlock()
	a := in.apps[addr]
	if a == nil {
		a = &app{addr: addr}
		in.apps[addr] = a
	}
	a.holders++
	return a
}

// releaseApp ends what app began. The connections to a port that no peer is connected to are closed.
func (in *inbound) releaseApp(a *app) {
	in.mu.Lock()
	a.holders--
	last := a.holders == 0
	if last {
		delete(in.apps, a.addr)
	}
	in.mu.Unlock()
	if last {
		a.close()
	}
}

func (a *app) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, up := range a.upstreams {
		if up != nil {
			up.Close()
		}
	}
	if a.release != nil {
		a.release()
	}
}

// upstream returns where requests of that version are given: an application gets the version that its client spoke.
func (in *inbound) upstream(a *app, v message.Version) *forward.Upstream {
	protocol := forward.HTTP1
	if v == message.HTTP2 {
		protocol = forward.HTTP2
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.upstreams[protocol] != nil {
		return a.upstreams[protocol]
	}
	if a.tcp == nil {
		a.tcp, a.release = in.proxy.stats.TCP(stats.Labels(`peer="dst",direction="inbound"`).Join(addrLabels(a.addr)))
	}
	a.upstreams[protocol] = in.engine.NewUpstream(forward.UpstreamConfig{
		Protocol: protocol, Traffic: &a.tcp.Traffic, Closed: a.tcp.Close,
		Dial: func(ctx context.Context) (net.Conn, error) {
			c, err := dialTCP(ctx, a.addr, in.proxy.times.inboundConnect)
			if err != nil {
				return nil, err
			}
			return sock.New(c, nil), nil
		},
	})
	return a.upstreams[protocol]
}

// inboundRequest is what the inbound side knows about a request in flight. It lives in Exchange.Data and is reused.
type inboundRequest struct {
	begun bool
	grpc  bool
	// log is the request's line for the access log, which is written at its end; nil without one.
	log *accessLine
}

// Route authorizes the request and gives it to the application. It implements forward.Handler.
func (in *inbound) Route(x *exchange.Exchange) forward.Verdict {
	c := x.Conn.Data.(*inboundConn)
	r := in.request(x)
	if !r.begun {
		c.inFlight.Add(1)
	}
	r.begun, r.grpc = true, isGRPC(&x.Request)
	c.http.Request()
	if in.proxy.accessLog != nil {
		r.log = in.proxy.accessLog.begin(x)
	}
	port := in.policy.Load().Port(c.app.addr.Port())
	verdict := port.DecideRequest(c.peer, x.Request.Method(), x.Request.Path())
	in.countRequest(c, port.Name(), verdict)
	if verdict.Audited {
		in.events.info("request audited", zap.Stringer("app", c.app.addr), zap.Stringer("client", c.peer.Addr), zap.Stringer("client_id", c.peer.ID))
	}
	if !verdict.Allow {
		return in.deny(x, r, c, verdict)
	}
	setClientID(&x.Request, c.client)
	return forward.Give(in.upstream(c.app, x.Request.Version))
}

func (in *inbound) request(x *exchange.Exchange) *inboundRequest {
	r, ok := x.Data.(*inboundRequest)
	if !ok {
		r = &inboundRequest{}
		x.Data = r
	}
	return r
}

// deny answers a request that policy refused.
func (in *inbound) deny(x *exchange.Exchange, r *inboundRequest, c *inboundConn, v authz.Verdict) forward.Verdict {
	in.events.info("request denied", zap.Stringer("app", c.app.addr), zap.Stringer("client", c.peer.Addr),
		zap.Stringer("client_id", c.peer.ID), zap.String("reason", string(v.Reason)))
	return in.proxy.respond(x, answer{
		status: 403, cause: "http_request_denied", text: v.Reason.Explain(), grpc: r.grpc, detailed: !c.peer.ID.IsZero(),
	})
}

// decision is the last verdict of a connection and the counter of its like: nearly all requests of a connection get the same one.
type decision struct {
	verdict authz.Verdict
	policy  string
	counter *stats.Counter
}

// countRequest counts a verdict without building labels for each request.
func (in *inbound) countRequest(c *inboundConn, policy string, v authz.Verdict) {
	last := c.decision.Load()
	if last != nil && last.verdict == v && last.policy == policy {
		last.counter.Inc()
		return
	}
	family, l := stats.InboundHTTPDeny, inboundLabels(c.app.addr, c.client, policy)
	if v.Allow {
		family, l = stats.InboundHTTPAllow, l.With("authz_kind", "default").With("authz_name", v.Name)
	} else {
		l = l.With("reason", string(v.Reason))
	}
	counter := in.proxy.stats.Counter(family, l)
	counter.Inc()
	c.decision.Store(&decision{verdict: v, policy: policy, counter: counter})
}

// Again answers every fault: what one application could not take, no other can. It implements forward.Handler.
func (in *inbound) Again(x *exchange.Exchange, f exchange.Fault) forward.Verdict {
	c := x.Conn.Data.(*inboundConn)
	r := in.request(x)
	if f.Retryable && f.Kind != exchange.DialRefused && f.Kind != exchange.DialTimeout && x.Attempts < connectAttempts {
		return forward.Give(in.upstream(c.app, x.Request.Version))
	}
	in.proxy.countFault(stats.InboundHTTPErrors, "inbound", f)
	return in.proxy.respond(x, answer{
		fault: f, grpc: r.grpc, detailed: !c.peer.ID.IsZero(), object: c.app.addr.String(), nextHop: c.app.addr,
		unprocessed: f.Retryable && !c.peer.ID.IsZero(),
	})
}

// Response implements forward.Handler. An answer goes back as it came; only a proxy may say that a request was not processed.
func (in *inbound) Response(x *exchange.Exchange) exchange.Fault {
	x.Response.Del(unprocessedField)
	return exchange.Fault{}
}

// End tells the metrics and the access log. It implements forward.Handler.
func (in *inbound) End(x *exchange.Exchange) {
	c := x.Conn.Data.(*inboundConn)
	r := in.request(x)
	if r.begun {
		c.inFlight.Add(-1)
	} else { // too broken to be routed
		c.http.Request()
	}
	c.http.Response(resultOf(x, r.grpc), latencyOf(x))
	if r.log != nil {
		in.proxy.accessLog.end(r.log, x)
	}
	*r = inboundRequest{}
}

// unprocessedField is how a proxy tells a meshed peer that the answer is its own and that the application has not seen the request,
// so that the peer may send it elsewhere: an application that stops refuses connections before everyone knows that it is gone.
const unprocessedField = "tulle-unprocessed"

// setClientID replaces whatever a peer claims about its identity by what it proved. Applications read underscores and dashes alike,
// so every spelling goes.
func setClientID(h *message.Head, client clientTLS) {
	h.DelFunc(func(name, _ []byte) bool { return isClientID(name) })
	if client.header != "" {
		h.Add(clientIDField, client.header)
	}
}

const clientIDField = "l5d-client-id"

func isClientID(name []byte) bool {
	if len(name) != len(clientIDField) {
		return false
	}
	for i, c := range name {
		switch {
		case c == '_':
			c = '-'
		case 'A' <= c && c <= 'Z':
			c |= 0x20
		}
		if c != clientIDField[i] {
			return false
		}
	}
	return true
}

package proxy

import (
	"bytes"
	"cmp"
	"context"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/proxy/authz"
	"github.com/tulle-mesh/tulle/proxy/exchange"
	"github.com/tulle-mesh/tulle/proxy/forward"
	"github.com/tulle-mesh/tulle/proxy/limit"
	"github.com/tulle-mesh/tulle/proxy/message"
	"github.com/tulle-mesh/tulle/proxy/route"
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
		a.tcp, a.release = in.proxy.stats.TCP(appLabels(in.appName(a.addr)))
	}
	a.upstreams[protocol] = in.engine.NewUpstream(forward.UpstreamConfig{
		Protocol: protocol, Traffic: &a.tcp.Traffic, Closed: a.tcp.Close,
		Dial: func(ctx context.Context) (net.Conn, error) {
			c, err := dialTCP(ctx, a.addr, in.proxy.times.inboundConnect)
			if err != nil {
				return nil, err
			}
			in.answered.add(a.addr, in.proxy.now())
			return sock.New(c, nil), nil
		},
	})
	return a.upstreams[protocol]
}

// inboundRequest is what the inbound side knows about a request in flight. It lives in Exchange.Data and is reused.
type inboundRequest struct {
	account *account  // nil until the request is routed
	hit     route.Hit // zero where no route governs the request
	grpc    bool
	served  bool // policy let it in
	// log is the request's line for the access log, which is written at its end; nil without one.
	log *accessLine
}

// route names the route that decided on the request, or whose mistake did.
func (r *inboundRequest) route() mesh.Ref {
	if r.account.verdict.Reason == authz.InvalidRoute {
		return r.hit.Rule.Ref
	}
	return r.account.verdict.Route
}

// Route authorizes the request and gives it to the application. It implements forward.Handler.
func (in *inbound) Route(x *exchange.Exchange) forward.Verdict {
	c := x.Conn.Data.(*inboundConn)
	r := in.request(x)
	if r.account != nil { // it was let in, and waited after a refusal
		return forward.Forward(in.upstream(c.app, x.Request.Version))
	}
	r.grpc = isGRPC(&x.Request)
	if in.proxy.accessLog != nil {
		r.log = in.proxy.accessLog.begin(x)
	}
	port := in.policy.Load().Port(c.app.addr.Port())
	part, hit := port.Match(c.peer, &x.Request)
	a := in.account(c, port, part)
	r.account, r.hit = a, hit
	a.inFlight.Add(1)
	a.http.Request()
	a.decided.Inc()
	if !a.verdict.Allow {
		return in.deny(x, c, r)
	}
	if a.verdict.Audited {
		in.events.info("request audited", zap.Stringer("app", c.app.addr), zap.Stringer("client", c.peer.Addr), zap.Stringer("client_id", c.peer.ID))
	}
	if a.limiter != nil {
		if scope, wait := a.limiter.Take(c.peer.ID, x.Begun.Sub(in.proxy.started)); scope != "" {
			return in.refuseExcess(x, c, r, scope, wait)
		}
	}
	r.served = true
	a.served.Request()
	if a.named != nil {
		a.named.Request()
	}
	if hit.Rule != nil {
		if verdict, answered := in.filter(x, c, r); answered {
			return verdict
		}
	}
	if left, ok := takeRemaining(&x.Request, !c.peer.ID.IsZero()); ok {
		if left <= 0 {
			return in.late(x, c, r)
		}
		x.TotalTimeout = left + deadlineGrace
		tellDeadline(&x.Request, left)
	}
	setClientID(&x.Request, c.client)
	return forward.Forward(in.upstream(c.app, x.Request.Version))
}

// filter does to the request what its rule says, which may be to answer it.
func (in *inbound) filter(x *exchange.Exchange, c *inboundConn, r *inboundRequest) (v forward.Verdict, answered bool) {
	rule := r.hit.Rule
	if rule.Invalid != "" {
		in.countHTTPError("invalid_route")
		return in.proxy.respond(x, answer{
			status: 500, cause: "proxy_configuration_error", text: rule.Invalid, grpc: r.grpc,
			detailed: !c.peer.ID.IsZero(), object: in.subject(c, r.account.verdict.Route),
		}), true
	}
	if rule.CORS != nil {
		x.Response.Reset()
		if preflight, _ := rule.CORS.Preflight(&x.Request, &x.Response); preflight {
			x.Response.Status = 200
			return forward.Reply(nil), true
		}
	}
	if to := rule.Redirect; to != nil {
		x.Response.Reset()
		x.Response.Status = to.Status
		x.Response.Add("location", route.Location(to, &x.Request, r.hit, portOf(x.Request.Authority())))
		rule.EditResponse(&x.Response)
		return forward.Reply(nil), true
	}
	rule.EditRequest(&x.Request, r.hit)
	return forward.Verdict{}, false
}

// portOf returns the port that an authority names, or that of plaintext HTTP.
func portOf(authority []byte) uint16 {
	if i := bytes.LastIndexByte(authority, ':'); i >= 0 {
		if n, err := strconv.ParseUint(string(authority[i+1:]), 10, 16); err == nil {
			return uint16(n)
		}
	}
	return 80
}

func (in *inbound) countHTTPError(reason string) {
	in.proxy.stats.Inc(stats.InboundHTTPErrors, stats.Labels("").With("direction", "inbound").With("error", reason))
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
func (in *inbound) deny(x *exchange.Exchange, c *inboundConn, r *inboundRequest) forward.Verdict {
	v, port := r.account.verdict, c.ledger.port
	in.events.info("request denied", zap.Stringer("app", c.app.addr), zap.Stringer("client", c.peer.Addr),
		zap.Stringer("client_id", c.peer.ID), zap.String("server", nameOf(port.Server())), zap.String("route", nameOf(r.route())),
		zap.String("reason", string(v.Reason)))
	a := answer{
		status: 403, cause: "http_request_denied", text: v.Reason.Explain(), grpc: r.grpc,
		detailed: !c.peer.ID.IsZero(), object: in.subject(c, r.route()),
	}
	switch v.Reason {
	case authz.NoRoute:
		a.status, a.cause = 404, "destination_not_found"
	case authz.AmbiguousPath:
		a.status, a.cause = 400, "http_request_error"
	case authz.InvalidRoute:
		a.status, a.cause = 500, "proxy_configuration_error"
		if a.detailed {
			a.text = cmp.Or(r.hit.Rule.Invalid, a.text)
		}
	default:
		if port.IsProbe(c.peer, &x.Request) { // a route took the probe's place
			a.text = "this route matches a kubelet's probe, so it decides on it: authorize the node's network, or let the route match less"
		}
	}
	return in.proxy.respond(x, a)
}

// refuseExcess answers a request that is too many for the port's rate limit.
func (in *inbound) refuseExcess(x *exchange.Exchange, c *inboundConn, r *inboundRequest, scope limit.Scope, wait time.Duration) forward.Verdict {
	in.countLimited(c, r.account, scope)
	text := "too many requests from all clients together"
	if scope == limit.Identity {
		text = "too many requests from this client"
	}
	return in.proxy.respond(x, answer{
		status: 429, cause: "http_request_denied", text: text, grpc: r.grpc, retryAfter: wait,
		detailed: !c.peer.ID.IsZero(), object: nameOf(r.account.limiter.Limit().Ref) + ", " + in.subject(c, r.account.verdict.Route),
	})
}

// subject names what a decision was about: the Server, the route and the client.
func (in *inbound) subject(c *inboundConn, route mesh.Ref) string {
	port := c.ledger.port
	s := "port " + strconv.Itoa(int(c.app.addr.Port())) + " with the policy " + port.Server().Name
	if port.HasServer() {
		s = nameOf(port.Server())
	}
	if route.Namespace != "" {
		s += ", " + nameOf(route)
	}
	return s + ", client " + c.client.header
}

// nameOf renders a Ref for people: Server shop/cart.
func nameOf(r mesh.Ref) string {
	if r.Namespace == "" {
		return strings.TrimSpace(r.Kind + " " + r.Name)
	}
	return r.Kind + " " + r.Namespace + "/" + r.Name
}

// OnFault sends what the application refused once more, and answers every other fault: what one application could not take, no other can. It
// implements forward.Handler.
func (in *inbound) OnFault(x *exchange.Exchange, f exchange.Fault) forward.Verdict {
	c := x.Conn.Data.(*inboundConn)
	r := in.request(x)
	f = expired(x, f, r.grpc)
	if f.Retryable && f.Kind != exchange.DialRefused && f.Kind != exchange.DialTimeout && x.Attempts < connectAttempts {
		return forward.Forward(in.upstream(c.app, x.Request.Version))
	}
	if wait, ok := waitAfterRefusal(x, f, connectAttempts); ok && r.served {
		return forward.Wait(wait)
	}
	if r.account == nil { // too broken to be routed
		r.grpc = isGRPC(&x.Request)
	}
	in.proxy.countFault(stats.InboundHTTPErrors, "inbound", f)
	return in.proxy.respond(x, answer{
		fault: f, grpc: r.grpc, detailed: !c.peer.ID.IsZero(), object: c.app.addr.String(), nextHop: c.app.addr,
		unprocessed: f.Retryable && !c.peer.ID.IsZero(),
	})
}

// late answers a request whose caller has given it up.
func (in *inbound) late(x *exchange.Exchange, c *inboundConn, r *inboundRequest) forward.Verdict {
	x.Fault = exchange.Fault{Side: exchange.Proxy, Kind: exchange.Timeout, Reason: exchange.Deadline}
	in.proxy.countFault(stats.InboundHTTPErrors, "inbound", x.Fault)
	return in.proxy.respond(x, answer{fault: x.Fault, grpc: r.grpc, detailed: !c.peer.ID.IsZero(), object: c.app.addr.String()})
}

// markRetried tells a meshed peer that a failed answer passes a failure on that was retried further along.
func (in *inbound) markRetried(x *exchange.Exchange) {
	h := &x.Response
	if h.Has(retriedField) {
		h.Del(retriedField)
	}
	failed := h.Status >= 500
	if !failed && in.request(x).grpc && h.Has("grpc-status") {
		failed = grpcFailure(grpcOf(x))
	}
	if failed && !x.Conn.Peer.IsZero() && in.proxy.failures.Claim(x.Begun) {
		h.Add(retriedField, "1")
	}
}

// Response implements forward.Handler. An answer goes back as its route says; only a proxy may say that a request was not processed.
func (in *inbound) Response(x *exchange.Exchange) exchange.Fault {
	x.Response.Del(unprocessedField)
	in.markRetried(x)
	if x.Response.Status/100 == 3 {
		in.noteRedirect(x)
	}
	if rule := in.request(x).hit.Rule; rule != nil {
		rule.EditResponse(&x.Response)
		if rule.CORS != nil {
			rule.CORS.Mark(&x.Request, &x.Response)
		}
	}
	return exchange.Fault{}
}

// noteRedirect logs a probe that the application redirects: the kubelet follows it within the pod, and what it asks for then is no probe.
func (in *inbound) noteRedirect(x *exchange.Exchange) {
	if a := in.request(x).account; a == nil || a.part != authz.Probe {
		return
	}
	location, _ := x.Response.Get("location")
	in.events.info("kubelet's probe was redirected", zap.Stringer("app", x.Conn.Target), zap.String("path", string(x.Request.Path())),
		zap.String("location", string(location[:min(len(location), 256)])))
}

// End tells the metrics and the access log. It implements forward.Handler.
func (in *inbound) End(x *exchange.Exchange) {
	c := x.Conn.Data.(*inboundConn)
	r := in.request(x)
	if r.account == nil { // too broken to be routed
		series := in.unrouted(c)
		series.Request()
		series.Response(resultOf(x, r.grpc), latencyOf(x))
	} else {
		r.account.inFlight.Add(-1)
		r.account.end(x, r)
	}
	if r.log != nil {
		if a := r.account; a != nil {
			r.log.server, r.log.route, r.log.authorization = a.server, r.route(), a.verdict.Authorization
		}
		in.proxy.accessLog.end(r.log, x)
	}
	*r = inboundRequest{}
}

// end counts how a request ended.
func (a *account) end(x *exchange.Exchange, r *inboundRequest) {
	result, latency := resultOf(x, r.grpc), latencyOf(x)
	a.http.Response(result, latency)
	if !r.served {
		return
	}
	status := int16(cmp.Or(result.Status, -1))
	if a.verdict.Route.Kind == "GRPCRoute" {
		status = result.GRPC
	}
	a.served.End(status, durationOf(x), max(x.Ended.Sub(later(x.Begun, x.Uploaded)), 0))
	if a.named != nil {
		a.named.Response(result, latency)
	}
}

// unrouted returns what counts a connection's requests that were too broken to be routed.
func (in *inbound) unrouted(c *inboundConn) *stats.HTTP {
	if c.unrouted == nil {
		c.unrouted, c.release = in.proxy.stats.HTTP(c.labels(in.policy.Load().Port(c.app.addr.Port())))
	}
	return c.unrouted
}

// close ends what counts the connection's requests.
func (c *inboundConn) close() {
	c.ledger.close()
	if c.release != nil {
		c.release()
	}
}

// unprocessedField is how a proxy tells a meshed peer that the answer is its own and that the application has not seen the request,
// so that the peer may send it elsewhere: an application that stops refuses connections before everyone knows that it is gone.
const unprocessedField = "tulle-unprocessed"

// setClientID replaces whatever a peer claims about its identity by what it proved. Applications behind CGI and its heirs read every
// character that is no letter or digit as an underscore, so every spelling goes.
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
		case 'A' <= c && c <= 'Z':
			c |= 0x20
		case 'a' <= c && c <= 'z' || '0' <= c && c <= '9':
		default:
			c = '-'
		}
		if c != clientIDField[i] {
			return false
		}
	}
	return true
}

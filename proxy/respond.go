package proxy

import (
	"cmp"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/tulle-mesh/tulle/proxy/exchange"
	"github.com/tulle-mesh/tulle/proxy/forward"
	"github.com/tulle-mesh/tulle/proxy/h2"
	"github.com/tulle-mesh/tulle/proxy/message"
	"github.com/tulle-mesh/tulle/proxy/stats"
)

// answer is what the proxy says in an application's place.
type answer struct {
	fault exchange.Fault
	// status and cause, when set, override what the fault maps to.
	status int
	cause  string
	// text is the body and the value of l5d-proxy-error; the fault's default when empty.
	text string
	// grpc says that a gRPC call is answered; code, when set, overrides the gRPC status that the HTTP status maps to.
	grpc bool
	code int
	// unprocessed tells a meshed peer that the application has not seen the request.
	unprocessed bool
	// detailed says that the answer goes to the local application or to a meshed peer, which may learn addresses and errors.
	detailed bool
	// object names what the request was for, nextHop where it was sent.
	object  string
	nextHop netip.AddrPort
	// retryAfter, when set, tells the client to wait; rounded up to seconds.
	retryAfter time.Duration
}

// mapping is how a kind of fault is answered.
type mapping struct {
	status int
	cause  string // Proxy-Status error type, RFC 9209 §2.3
	text   string
}

// mappingOf is the only place where faults become statuses; the statuses are Linkerd's (compatibility with its dashboards and with
// clients that retry on them).
func mappingOf(k exchange.Kind) mapping {
	switch k {
	case exchange.Malformed:
		return mapping{400, "http_request_error", "malformed request"}
	case exchange.HeadTooLarge:
		return mapping{431, "http_request_error", "request head too large"}
	case exchange.HeadTimeout:
		return mapping{408, "http_request_error", "request head did not arrive in time"}
	case exchange.Unsupported:
		return mapping{501, "http_request_error", "request asks for something that is not supported"}
	case exchange.NoEndpoint:
		return mapping{504, "destination_unavailable", "fail-fast: no endpoint is available"}
	case exchange.Overloaded:
		return mapping{503, "connection_limit_reached", "load shed: a queue is full"}
	case exchange.Shutdown:
		return mapping{503, "proxy_internal_response", "proxy is shutting down"}
	case exchange.Timeout:
		return mapping{504, "http_response_timeout", "response timed out"}
	case exchange.DialRefused:
		return mapping{502, "connection_refused", "could not connect"}
	case exchange.DialTimeout:
		return mapping{504, "connection_timeout", "connecting timed out"}
	case exchange.Identity:
		return mapping{502, "tls_certificate_error", "peer could not prove its identity"}
	case exchange.Refused:
		return mapping{503, "destination_unavailable", "server refused the request"}
	case exchange.Lost:
		return mapping{502, "connection_terminated", "connection ended before the answer"}
	case exchange.Reset:
		return mapping{502, "http_response_incomplete", "server reset the stream"}
	case exchange.BadResponse:
		return mapping{502, "http_protocol_error", "malformed response"}
	case exchange.ResponseTooLarge:
		return mapping{502, "http_response_header_section_size", "response head or trailers too large"}
	case exchange.Rejected:
		return mapping{503, "destination_unavailable", "server failed the request, and there is no other way"}
	default:
		return mapping{500, "proxy_internal_error", "unexpected error"}
	}
}

// respond answers x in the application's place.
func (p *Proxy) respond(x *exchange.Exchange, a answer) forward.Verdict {
	m := mappingOf(a.fault.Kind)
	if a.status != 0 {
		m.status, m.cause = a.status, a.cause
	}
	if a.fault.Kind == exchange.Reset && a.fault.Reason != "" {
		m.text += ": " + a.fault.Reason
	}
	if a.text != "" {
		m.text = a.text
	}
	if a.detailed && a.fault.Err != nil {
		m.text += ": " + a.fault.Err.Error()
	}
	if a.detailed && a.object != "" {
		m.text = a.object + ": " + m.text
	}
	res := &x.Response
	res.Reset()
	res.Status = m.status
	body := []byte(m.text + "\n")
	if a.grpc {
		res.Status = 200
		res.Add("content-type", "application/grpc")
		res.Add("grpc-status", strconv.Itoa(a.grpcStatus(m)))
		res.Add("grpc-message", percentEncode(m.text))
		body = nil
	} else {
		res.Add("content-type", "text/plain; charset=utf-8")
	}
	if a.detailed {
		res.Add("l5d-proxy-error", fieldValue(m.text))
	}
	if a.unprocessed {
		res.Add(unprocessedField, a.fault.Kind.String())
	}
	if a.retryAfter > 0 {
		res.Add("retry-after", strconv.FormatInt(int64((a.retryAfter+time.Second-1)/time.Second), 10))
	}
	res.Add("proxy-status", a.proxyStatus(m))
	return forward.Reply(body)
}

// grpcStatus returns the status that a gRPC call is answered with.
func (a *answer) grpcStatus(m mapping) int {
	switch a.fault.Kind {
	case exchange.Reset:
		return resetStatus(a.fault.Reason)
	case exchange.ResponseTooLarge: // it will be so again, and UNAVAILABLE asks for another attempt
		return 13 // INTERNAL
	}
	return cmp.Or(a.code, grpcStatus(m.status))
}

// proxyStatus renders RFC 9209's field: the cause for everyone, the object for those who may know.
func (a *answer) proxyStatus(m mapping) string {
	s := "tulle-proxy; error=" + m.cause
	if !a.detailed {
		return s
	}
	if a.nextHop.IsValid() {
		s += "; next-hop=" + quoted(a.nextHop.String())
	}
	if a.object != "" {
		s += "; details=" + quoted(m.text)
	}
	return s
}

// quoted renders a Structured Fields string. Source: RFC 9651 §3.3.3.
func quoted(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(fieldValue(s)) + `"`
}

// fieldValue keeps the printable ASCII of s, so that no error text can end a field.
func fieldValue(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return ' '
		}
		return r
	}, s)
}

// percentEncode encodes a grpc-message. Source: gRPC over HTTP/2, "Percent-Encoded".
func percentEncode(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '%' {
			b.WriteString("%" + strings.ToUpper(strconv.FormatUint(uint64(c)|0x100, 16)[1:]))
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// grpcStatus maps an HTTP status of the proxy's own to gRPC's code as Linkerd does.
func grpcStatus(status int) int {
	switch status {
	case 400, 500:
		return 13 // INTERNAL
	case 403:
		return 7 // PERMISSION_DENIED
	case 404:
		return 5 // NOT_FOUND
	case 408, 504:
		return 4 // DEADLINE_EXCEEDED
	case 429, 431:
		return 8 // RESOURCE_EXHAUSTED
	case 501:
		return 12 // UNIMPLEMENTED
	case 502, 503:
		return 14 // UNAVAILABLE
	case 508:
		return 10 // ABORTED
	default:
		return 2 // UNKNOWN
	}
}

// resetStatus maps the code of a stream that the server reset, by its word in h2.Code, to gRPC's. Most clients retry UNAVAILABLE, so it is
// for what was certainly not processed. Source: gRPC over HTTP/2, "Errors"; codes that are not listed there are INTERNAL as in C-core.
func resetStatus(code string) int {
	switch code {
	case h2.RefusedStream.String():
		return 14 // UNAVAILABLE
	case h2.Cancel.String():
		return 1 // CANCELLED
	case h2.EnhanceYourCalm.String():
		return 8 // RESOURCE_EXHAUSTED
	case h2.InadequateSecurity.String():
		return 7 // PERMISSION_DENIED
	default:
		return 13 // INTERNAL
	}
}

// isGRPC reports whether a request is a gRPC call, whatever the method, but that of a tunnel: it would take the 200 of an error for an
// open one. Source: gRPC over HTTP/2, "Content-Type".
func isGRPC(h *message.Head) bool {
	const prefix = "application/grpc"
	if string(h.Method()) == "CONNECT" {
		return false
	}
	v, ok := h.Get("content-type")
	if !ok || len(v) < len(prefix) || !message.EqualFold(v[:len(prefix)], prefix) {
		return false
	}
	return len(v) == len(prefix) || v[len(prefix)] == '+' || v[len(prefix)] == ';'
}

// resultOf says how an exchange ended, as metrics tell it.
func resultOf(x *exchange.Exchange, grpc bool) stats.Outcome {
	o := stats.Outcome{Status: x.Response.Status, GRPC: stats.NotGRPC, Failure: x.Response.Status >= 500}
	if grpc {
		o.GRPC = grpcOf(x)
		o.Failure = o.Failure || grpcFailure(o.GRPC)
	}
	if x.Fault.Is() {
		o.Failure, o.Error = true, x.Fault.Kind.String()
	}
	return o
}

// grpcOf returns the call's gRPC status, 2 (UNKNOWN) when it ended without one.
func grpcOf(x *exchange.Exchange) int16 {
	v, ok := x.Trailers.Get("grpc-status")
	if !ok {
		v, ok = x.Response.Get("grpc-status")
	}
	if !ok || len(v) == 0 || len(v) > 2 {
		return 2
	}
	n := int16(0)
	for _, c := range v {
		if c < '0' || c > '9' {
			return 2
		}
		n = n*10 + int16(c-'0')
	}
	if n > 16 {
		return 2
	}
	return n
}

// grpcFailure reports whether a gRPC status counts as the server's failure: Linkerd's default set.
func grpcFailure(code int16) bool {
	switch code {
	case 2, 4, 7, 13, 14, 15: // UNKNOWN, DEADLINE_EXCEEDED, PERMISSION_DENIED, INTERNAL, UNAVAILABLE, DATA_LOSS
		return true
	default:
		return false
	}
}

// countFault counts a request that this proxy failed.
func (p *Proxy) countFault(family, direction string, f exchange.Fault) {
	if f.Kind == exchange.Disconnected {
		return // the client's own doing; tcp_close_total has it
	}
	l := stats.Labels("").With("direction", direction).With("error", f.Kind.String()).With("reason", f.Reason)
	p.stats.Inc(family, l)
}

// connEnded logs and counts the HTTP/2 connections that the engine ends because of what their peer sends.
func (p *Proxy) connEnded(direction string, log *events) func(forward.ConnEnd) {
	return func(c forward.ConnEnd) {
		p.stats.Inc(stats.HTTP2Ended, stats.Labels("").With("direction", direction).With("peer_kind", c.Peer.String()).
			With("error", c.Fault.Kind.String()).With("reason", c.Fault.Reason))
		fields := []zap.Field{
			zap.String("peerKind", c.Peer.String()), zap.Stringer("remote", c.Remote), zap.Stringer("error", c.Fault.Kind),
			zap.String("reason", c.Fault.Reason),
		}
		if c.Conn != nil {
			fields = append(fields, zap.Stringer("target", c.Conn.Target), zap.Stringer("client", c.Conn.Peer))
		}
		log.info("HTTP/2 connection ended", fields...)
	}
}

// durationOf returns how long an exchange took; 0 when its request never became complete.
func durationOf(x *exchange.Exchange) time.Duration {
	if x.Begun.IsZero() || x.Ended.IsZero() {
		return 0
	}
	return x.Ended.Sub(x.Begun)
}

// latencyOf returns how long the client waited for an answer: up to the first byte of its body, or up to its end if it had none. A server
// that sends a head and then thinks is slow; a stream that goes on for hours is not. Source: Linkerd's response_latency_ms.
func latencyOf(x *exchange.Exchange) time.Duration {
	if x.FirstByte.IsZero() {
		return durationOf(x)
	}
	return x.FirstByte.Sub(x.Begun)
}

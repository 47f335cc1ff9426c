package trace

import (
	"bytes"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/proxy/exchange"
	"github.com/tulle-mesh/tulle/proxy/message"
	"github.com/tulle-mesh/tulle/proxy/stats"
)

// kind is OTLP's Span.SpanKind.
type kind uint64

const (
	internal kind = 1
	server   kind = 2
	client   kind = 3
)

// Bounds of what a span takes from a request, in bytes.
const (
	maxPath  = 1024
	maxName  = 256
	maxState = 512 // W3C Trace Context §3.3.1.5
)

// Span is the record of one sampled request. A request with one attempt becomes one span. One that is sent again
// becomes a span for each attempt, below one for the whole request. Only the goroutine that runs the handler may use
// it, and not after End.
type Span struct {
	tracer  *Tracer
	context spanContext
	kind    kind
	grpc    bool
	name    []byte
	state   []byte // tracestate
	common  []byte // attributes of all spans of the request, encoded
	own     []byte // attributes of the attempt, or of the only span, encoded
	out     []byte // scratch

	id      spanID // of the attempt, or of the only span
	whole   spanID // of the whole request; zero while there is one attempt
	began   time.Time
	attempt attempt
	failure string // the reason of a response of the proxy's own; "" if there is none
}

// attempt is the state of the attempt in flight, or of the last one.
type attempt struct {
	begun   time.Time
	ended   time.Time // zero while it is in flight
	started bool      // by StartAttempt
	resends int64
	result  stats.ResponseStatus
}

var spans = sync.Pool{New: func() any { return new(Span) }}

func (s *Span) begin(t *Tracer, x *exchange.Exchange, c spanContext, k kind, grpc bool) {
	*s = Span{
		tracer: t, context: c, kind: k, grpc: grpc, id: newSpanID(), began: x.Begun,
		name: s.name[:0], state: append(s.state[:0], c.state...), common: s.common[:0], own: s.own[:0], out: s.out[:0],
	}
	s.context.state = nil // it is the head's
	s.attempt.begun = x.Begun
	h := &x.Request
	method := knownMethod(h.Method())
	if method == "_OTHER" {
		s.Text("http.request.method_original", h.Method(), maxName)
	}
	s.String("http.request.method", method)
	path, _, _ := bytes.Cut(h.Path(), []byte{'?'}) // a query may hold secrets
	s.Text("url.path", path, maxPath)
	if scheme := h.Part(message.Scheme); len(scheme) > 0 {
		s.Text("url.scheme", scheme, maxName)
	}
	s.setAuthority(h.Authority())
	s.String("network.protocol.version", protocolVersion(h.Version))
	if !grpc {
		s.name = append(s.name, method...)
		if method == "_OTHER" {
			s.name = append(s.name[:0], "HTTP"...)
		}
		return
	}
	call := bytes.TrimPrefix(path, []byte{'/'})
	s.name = appendText(s.name, call, maxName)
	s.String("rpc.system", "grpc")
	if i := bytes.LastIndexByte(call, '/'); i > 0 {
		s.Text("rpc.service", call[:i], maxName)
		s.Text("rpc.method", call[i+1:], maxName)
	}
}

// knownMethod returns the method as OpenTelemetry's conventions have it: those of RFC 9110, PATCH and QUERY.
func knownMethod(m []byte) string {
	for _, known := range [...]string{
		"GET", "POST", "PUT", "HEAD", "DELETE", "OPTIONS", "PATCH", "CONNECT", "TRACE", "QUERY",
	} {
		if string(m) == known {
			return known
		}
	}
	return "_OTHER"
}

func protocolVersion(v message.Version) string {
	switch v {
	case message.HTTP2:
		return "2"
	case message.HTTP10:
		return "1.0"
	default:
		return "1.1"
	}
}

// setAuthority sets the name and the port that the client asked for.
func (s *Span) setAuthority(authority []byte) {
	host := authority
	if i := bytes.LastIndexByte(authority, ':'); i >= 0 && bytes.IndexByte(authority[i:], ']') < 0 {
		if port, err := strconv.ParseUint(string(authority[i+1:]), 10, 16); err == nil {
			host = authority[:i]
			s.Int("server.port", int64(port))
		}
	}
	if len(host) > 0 {
		s.Text("server.address", host, maxName)
	}
}

// String sets an attribute of all spans of the request, unless the value is "".
func (s *Span) String(key, value string) {
	if value != "" {
		s.common = appendString(s.common, key, value)
	}
}

// Text is String for bytes of a request: at most limit of them, and valid UTF-8.
func (s *Span) Text(key string, value []byte, limit int) {
	var clean [64]byte
	s.common = appendString(s.common, key, appendText(clean[:0], value, limit))
}

// Int sets an attribute of all spans of the request.
func (s *Span) Int(key string, value int64) { s.common = appendInt(s.common, key, value) }

// Fail says why the proxy itself answers the request, as a constant word. It becomes the error.type, unless the result
// has one.
func (s *Span) Fail(reason string) { s.failure = reason }

// Deny is Fail for what a policy denies.
func (s *Span) Deny(reason string) {
	s.String("tulle.denied", reason)
	s.Fail(reason)
}

// TraceID returns the ID of the trace, for exemplars.
func (s *Span) TraceID() stats.TraceID { return stats.TraceID(s.context.trace) }

// Ref sets an attribute that names an object, unless it is none of the cluster's.
func (s *Span) Ref(key string, r mesh.Ref) {
	if r.Name != "" {
		s.common = appendString(s.common, key, RefName(r))
	}
}

// Peer sets the identities of the two ends of a connection over mesh TLS; a zero ID is a connection without.
func (s *Span) Peer(id mesh.ID) {
	if id.IsZero() {
		return
	}
	if s.kind == server {
		s.String("tulle.client.id", id.String())
		s.String("tulle.server.id", s.tracer.self)
		return
	}
	s.own = appendString(s.own, "tulle.client.id", s.tracer.self)
	s.own = appendString(s.own, "tulle.server.id", id.String())
}

// ClientAddr sets the address that the request came from.
func (s *Span) ClientAddr(a netip.AddrPort) {
	s.String("client.address", a.Addr().String())
	s.String("network.peer.address", a.Addr().String())
	s.Int("network.peer.port", int64(a.Port()))
}

// StartAttempt says that the request goes to an upstream now. From the second time on, a new span begins, and the
// request names it as the parent of what comes next.
func (s *Span) StartAttempt(h *message.Head, to netip.AddrPort, backend mesh.ServiceRef) {
	if s.attempt.started {
		now := time.Now()
		s.split()
		s.emitAttempt(now)
		s.id = newSpanID()
		s.attempt = attempt{begun: now, resends: s.attempt.resends + 1}
		s.context.write(h, s.id, true)
	}
	s.attempt.started = true
	s.own = s.own[:0]
	if n := s.attempt.resends; n > 0 {
		s.own = appendInt(s.own, "http.request.resend_count", n)
	}
	s.own = appendString(s.own, "network.peer.address", to.Addr().String())
	s.own = appendInt(s.own, "network.peer.port", int64(to.Port()))
	if !backend.IsZero() {
		name := backend.Namespace + "/" + backend.Name + ":" + strconv.Itoa(int(backend.Port))
		s.own = appendString(s.own, "tulle.backend", "Service "+name)
	}
}

// EndAttempt says how an attempt ended, after which the request may be sent again.
func (s *Span) EndAttempt(result stats.ResponseStatus) {
	if s.attempt.ended.IsZero() {
		s.attempt.ended, s.attempt.result = time.Now(), result
	}
}

// split makes room for a span of the whole request above those of its attempts.
func (s *Span) split() {
	if s.whole == (spanID{}) {
		s.whole = newSpanID()
	}
}

// emitAttempt queues the span of the attempt that ended. If its end is not known, it is now.
func (s *Span) emitAttempt(now time.Time) {
	a := &s.attempt
	if a.ended.IsZero() {
		a.ended, a.result.GRPC = now, stats.NotGRPC
	}
	s.emit(view{
		id: s.id, parent: s.whole, kind: s.kind, begun: a.begun, ended: a.ended, attributes: s.own, result: a.result,
	})
}

// End queues the spans of the request. The Span must not be used afterwards.
func (s *Span) End(x *exchange.Exchange, result stats.ResponseStatus) {
	if result.Error == "" {
		result.Error = s.failure
	}
	ended := x.Ended
	if ended.IsZero() {
		ended = time.Now()
	}
	v := view{
		id: s.id, parent: s.context.parent, remote: s.context.parent != spanID{}, kind: s.kind, begun: s.began, ended: ended,
		attributes: s.own, result: result, whole: x,
	}
	if s.whole != (spanID{}) {
		if s.attempt.ended.IsZero() {
			s.attempt.ended, s.attempt.result = ended, result
		}
		s.emitAttempt(ended)
		v.id, v.kind, v.attributes = s.whole, internal, nil
	}
	s.emit(v)
	s.tracer = nil
	spans.Put(s)
}

package trace

import (
	"strconv"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/tulle-mesh/tulle/proxy/exchange"
	"github.com/tulle-mesh/tulle/proxy/stats"
)

// Field numbers of OTLP's messages (opentelemetry/proto/trace/v1/trace.proto and its imports, 1.x, which are stable).
const (
	spanTraceID    = 1
	spanSpanID     = 2
	spanTraceState = 3
	spanParent     = 4
	spanName       = 5
	spanKind       = 6
	spanStart      = 7
	spanEnd        = 8
	spanAttributes = 9
	spanStatus     = 15
	spanFlags      = 16

	statusCode = 3

	keyValueKey   = 1
	keyValueValue = 2
	anyString     = 1
	anyInt        = 3

	requestResourceSpans = 1
	resourceSpansRes     = 1
	resourceSpansScopes  = 2
	resourceAttributes   = 1
	scopeSpansScope      = 1
	scopeSpansSpans      = 2
	scopeName            = 1
	scopeVersion         = 2

	responsePartialSuccess = 1
	partialRejected        = 1
	partialMessage         = 2
)

// statusError is OTLP's STATUS_CODE_ERROR.
const statusError = 2

// Bits of Span.flags beyond the W3C flags: whether the parent was in another process is known, and so it was.
const (
	parentKnown  = 0x100
	parentRemote = 0x200
)

// appendString appends an attribute.
func appendString[T ~string | ~[]byte](b []byte, key string, value T) []byte {
	inner := 1 + protowire.SizeBytes(len(value))
	b = appendKey(b, spanAttributes, key, inner)
	b = protowire.AppendTag(b, anyString, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(len(value)))
	return append(b, value...)
}

// appendInt appends an attribute.
func appendInt(b []byte, key string, value int64) []byte {
	b = appendKey(b, spanAttributes, key, 1+protowire.SizeVarint(uint64(value)))
	b = protowire.AppendTag(b, anyInt, protowire.VarintType)
	return protowire.AppendVarint(b, uint64(value))
}

// appendKey begins an attribute whose AnyValue takes inner bytes. A span's field of attributes and a resource's differ
// in their number only.
func appendKey(b []byte, field protowire.Number, key string, inner int) []byte {
	b = protowire.AppendTag(b, field, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(1+protowire.SizeBytes(len(key))+1+protowire.SizeBytes(inner)))
	b = protowire.AppendTag(b, keyValueKey, protowire.BytesType)
	b = protowire.AppendString(b, key)
	b = protowire.AppendTag(b, keyValueValue, protowire.BytesType)
	return protowire.AppendVarint(b, uint64(inner))
}

// appendText appends at most limit bytes of a request's text. Bytes that are not UTF-8 become '?': one such byte would
// make the collector refuse the whole batch.
func appendText(b, text []byte, limit int) []byte {
	if len(text) > limit {
		text = text[:limit]
		for i := 1; i < utf8.UTFMax && i <= len(text); i++ { // not in the middle of a rune
			if last := text[len(text)-i:]; utf8.RuneStart(last[0]) {
				if !utf8.FullRune(last) {
					text = text[:len(text)-i]
				}
				break
			}
		}
	}
	for len(text) > 0 {
		r, size := utf8.DecodeRune(text)
		if r == utf8.RuneError && size == 1 {
			b = append(b, '?')
		} else {
			b = append(b, text[:size]...)
		}
		text = text[size:]
	}
	return b
}

// view is one of the spans of a request.
type view struct {
	id, parent   spanID
	remote       bool // the parent is of another process
	kind         kind
	begun, ended time.Time
	attributes   []byte // beyond the common ones
	result       stats.ResponseStatus
	whole        *exchange.Exchange // of the span of the whole request; otherwise nil
}

// emit encodes a span and queues it.
func (s *Span) emit(v view) {
	b := s.out[:0]
	b = protowire.AppendTag(b, spanTraceID, protowire.BytesType)
	b = protowire.AppendBytes(b, s.context.trace[:])
	b = protowire.AppendTag(b, spanSpanID, protowire.BytesType)
	b = protowire.AppendBytes(b, v.id[:])
	if len(s.state) > 0 {
		b = protowire.AppendTag(b, spanTraceState, protowire.BytesType)
		b = append(protowire.AppendVarint(b, uint64(len(s.state))), s.state...)
	}
	flags := uint32(s.context.flags) | parentKnown
	if v.parent != (spanID{}) {
		b = protowire.AppendTag(b, spanParent, protowire.BytesType)
		b = protowire.AppendBytes(b, v.parent[:])
	}
	if v.remote {
		flags |= parentRemote
	}
	b = protowire.AppendTag(b, spanName, protowire.BytesType)
	b = protowire.AppendBytes(b, s.name)
	b = protowire.AppendTag(b, spanKind, protowire.VarintType)
	b = protowire.AppendVarint(b, uint64(v.kind))
	b = appendTime(b, spanStart, v.begun)
	b = appendTime(b, spanEnd, later(v.ended, v.begun))
	b = append(append(b, s.common...), v.attributes...)
	b = s.appendResult(b, v)
	b = protowire.AppendTag(b, spanFlags, protowire.Fixed32Type)
	b = protowire.AppendFixed32(b, flags)
	s.out = b
	s.tracer.push(b)
}

// later returns the end of a span: the engine reads its clock once a batch, so an end may seem to be before the begin.
func later(end, begin time.Time) time.Time {
	if end.Before(begin) {
		return begin
	}
	return end
}

func appendTime(b []byte, field protowire.Number, t time.Time) []byte {
	b = protowire.AppendTag(b, field, protowire.Fixed64Type)
	return protowire.AppendFixed64(b, uint64(max(t.UnixNano(), 0)))
}

// appendResult appends the attributes and the status that say how the span ended.
func (s *Span) appendResult(b []byte, v view) []byte {
	r := v.result
	if r.Status > 0 {
		b = appendInt(b, "http.response.status_code", int64(r.Status))
	}
	if s.grpc && r.GRPC >= 0 {
		b = appendInt(b, "rpc.grpc.status_code", int64(r.GRPC))
	}
	if x := v.whole; x != nil {
		b = appendInt(b, "http.request.body.size", x.RequestBytes)
		b = appendInt(b, "http.response.body.size", x.ResponseBytes)
	}
	failure := failureOf(r, v.kind == server)
	if failure == "" {
		return b
	}
	b = appendString(b, "error.type", failure)
	status := 1 + protowire.SizeVarint(statusError)
	b = protowire.AppendTag(b, spanStatus, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(status))
	b = protowire.AppendTag(b, statusCode, protowire.VarintType)
	return protowire.AppendVarint(b, statusError)
}

// serverFailures are the gRPC statuses that are a server's error, as a set of bits: UNKNOWN, DEADLINE_EXCEEDED,
// UNIMPLEMENTED, INTERNAL, UNAVAILABLE and DATA_LOSS.
const serverFailures = 1<<2 | 1<<4 | 1<<12 | 1<<13 | 1<<14 | 1<<15

// failureOf returns the error.type of a result, or "" if it is not an error: the proxy's own word, otherwise the name
// of the gRPC status or the HTTP status. A server's 4xx is the client's error, and so are most gRPC statuses. Source:
// OpenTelemetry's semantic conventions for HTTP and gRPC spans.
func failureOf(r stats.ResponseStatus, server bool) string {
	switch {
	case r.Error != "":
		return r.Error
	case r.GRPC > 0 && (!server || r.GRPC < 32 && serverFailures>>uint(r.GRPC)&1 == 1):
		return grpcName(r.GRPC)
	case r.Status >= 500, r.Status >= 400 && !server:
		return strconv.Itoa(r.Status)
	}
	return ""
}

// grpcName returns the name of a gRPC status.
func grpcName(code int16) string {
	names := [...]string{
		"OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
		"PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED",
		"INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
	}
	if code < 0 || int(code) >= len(names) {
		return strconv.Itoa(int(code))
	}
	return names[code]
}

// Attribute describes the proxy, in the resource of all its spans.
type Attribute struct{ Key, Value string }

// envelope encodes everything of an export request but the spans: prefix comes before them. The three lengths in it
// depend on the spans' size.
type envelope struct {
	resource []byte // ResourceSpans.resource, with its tag
	scope    []byte // ScopeSpans.scope, with its tag
}

func newEnvelope(attributes []Attribute, version string) envelope {
	var res []byte
	for _, a := range attributes {
		if a.Value == "" {
			continue
		}
		inner := 1 + protowire.SizeBytes(len(a.Value))
		res = appendKey(res, resourceAttributes, a.Key, inner)
		res = protowire.AppendTag(res, anyString, protowire.BytesType)
		res = protowire.AppendString(res, a.Value)
	}
	var scope []byte
	scope = protowire.AppendTag(scope, scopeName, protowire.BytesType)
	scope = protowire.AppendString(scope, "tulle-proxy")
	if version != "" {
		scope = protowire.AppendTag(scope, scopeVersion, protowire.BytesType)
		scope = protowire.AppendString(scope, version)
	}
	return envelope{resource: wrap(resourceSpansRes, res), scope: wrap(scopeSpansScope, scope)}
}

// wrap encodes a nested message.
func wrap(field protowire.Number, message []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(nil, field, protowire.BytesType), message)
}

// request encodes an ExportTraceServiceRequest. spans are ScopeSpans.spans with their tags.
func (e envelope) request(spans []byte) []byte {
	scope := len(e.scope) + len(spans)
	resource := len(e.resource) + 1 + protowire.SizeBytes(scope)
	b := make([]byte, 0, 1+protowire.SizeBytes(resource))
	b = protowire.AppendTag(b, requestResourceSpans, protowire.BytesType)
	b = append(protowire.AppendVarint(b, uint64(resource)), e.resource...)
	b = protowire.AppendTag(b, resourceSpansScopes, protowire.BytesType)
	b = append(protowire.AppendVarint(b, uint64(scope)), e.scope...)
	return append(b, spans...)
}

// parseResponse returns how many spans a collector rejected, and why, from an ExportTraceServiceResponse.
func parseResponse(b []byte) (rejected uint64, message string) {
	partial := field(b, responsePartialSuccess)
	for len(partial) > 0 {
		num, typ, n := protowire.ConsumeTag(partial)
		if n < 0 {
			break
		}
		partial = partial[n:]
		switch {
		case num == partialRejected && typ == protowire.VarintType:
			if rejected, n = protowire.ConsumeVarint(partial); n < 0 {
				return 0, ""
			}
		case num == partialMessage && typ == protowire.BytesType:
			var text []byte
			if text, n = protowire.ConsumeBytes(partial); n >= 0 {
				message = string(text)
			}
		default:
			n = protowire.ConsumeFieldValue(num, typ, partial)
		}
		if n < 0 {
			break
		}
		partial = partial[n:]
	}
	return rejected, message
}

// field returns the last value of a field of bytes; nil if there is none, or the message is broken.
func field(b []byte, want protowire.Number) (value []byte) {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return nil
		}
		b = b[n:]
		if n = protowire.ConsumeFieldValue(num, typ, b); n < 0 {
			return nil
		}
		if num == want && typ == protowire.BytesType {
			value, _ = protowire.ConsumeBytes(b)
		}
		b = b[n:]
	}
	return value
}

// Package response makes the responses that the proxy sends in an application's place, and reads what responses and
// deadlines mean.
//
// It owns the mapping of faults to statuses, the responses of rules (Refusal, Preflight, Redirect), the fields that
// proxies exchange, deadlines on their way, and how an exchange counts. It must not import what decides (proxy/inbound,
// proxy/outbound) nor the engine. The one idea: every status that a fault becomes comes from one table. Refusals by a
// rule or by policy set their own.
package response

import (
	"cmp"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/tulle-mesh/tulle/proxy/exchange"
)

// Error is a response that the proxy sends in an application's place.
type Error struct {
	Fault exchange.Fault
	// Status and Cause, when set, override what the fault maps to. Cause is an error type of RFC 9209 §2.3.
	Status int
	Cause  string
	// Text is the body and the value of l5d-proxy-error; the fault's default when empty.
	Text string
	// GRPC says that a gRPC call is answered. Code, when set, overrides the gRPC status that the HTTP status maps to.
	GRPC bool
	Code int
	// Unprocessed tells a meshed peer that the application has not seen the request.
	Unprocessed bool
	// Detailed says that the response goes to the local application or to a meshed peer, which may learn addresses and
	// errors.
	Detailed bool
	// Object names what the request was for, NextHop where it was sent.
	Object  string
	NextHop netip.AddrPort
	// RetryAfter, when set, tells the client to wait; rounded up to seconds.
	RetryAfter time.Duration
}

// mapping is the status, cause and text of a kind of fault.
type mapping struct {
	status int
	cause  string // Proxy-Status error type, RFC 9209 §2.3
	text   string
}

// mappingOf is the only place where faults become statuses; the statuses are Linkerd's (compatibility with its
// dashboards and with clients that retry on them).
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

// Write makes x.Response the error response, and returns its body.
func (e Error) Write(x *exchange.Exchange) (body []byte) {
	m := mappingOf(e.Fault.Kind)
	if e.Status != 0 {
		m.status, m.cause = e.Status, e.Cause
	}
	if e.Fault.Kind == exchange.Reset && e.Fault.Reason != "" {
		m.text += ": " + e.Fault.Reason
	}
	if e.Text != "" {
		m.text = e.Text
	}
	if e.Detailed && e.Fault.Err != nil {
		m.text += ": " + e.Fault.Err.Error()
	}
	if e.Detailed && e.Object != "" {
		m.text = e.Object + ": " + m.text
	}
	res := &x.Response
	res.Reset()
	res.Status = m.status
	body = []byte(m.text + "\n")
	if e.GRPC {
		res.Status = 200
		res.Add("content-type", "application/grpc")
		res.Add("grpc-status", strconv.Itoa(e.grpcStatus(m)))
		res.Add("grpc-message", percentEncode(m.text))
		body = nil
	} else {
		res.Add("content-type", "text/plain; charset=utf-8")
	}
	if e.Detailed {
		res.Add("l5d-proxy-error", fieldValue(m.text))
	}
	if e.Unprocessed {
		res.Add(UnprocessedField, e.Fault.Kind.String())
	}
	if e.RetryAfter > 0 {
		res.Add("retry-after", strconv.FormatInt(int64((e.RetryAfter+time.Second-1)/time.Second), 10))
	}
	res.Add("proxy-status", e.proxyStatus(m))
	return body
}

// grpcStatus returns the status that a gRPC call is answered with.
func (e *Error) grpcStatus(m mapping) int {
	switch e.Fault.Kind {
	case exchange.Reset:
		return ResetStatus(e.Fault.Reason)
	case exchange.ResponseTooLarge: // it will be so again, and UNAVAILABLE asks for another attempt
		return 13 // INTERNAL
	}
	return cmp.Or(e.Code, GRPCStatus(m.status))
}

// proxyStatus renders RFC 9209's field: the cause for everyone, the object for those who may know.
func (e *Error) proxyStatus(m mapping) string {
	s := "tulle-proxy; error=" + m.cause
	if !e.Detailed {
		return s
	}
	if e.NextHop.IsValid() {
		s += "; next-hop=" + quoted(e.NextHop.String())
	}
	if e.Object != "" {
		s += "; details=" + quoted(m.text)
	}
	return s
}

// FaultStatus returns the HTTP status that a kind of fault is answered with.
func FaultStatus(k exchange.Kind) int { return mappingOf(k).status }

// FaultText returns the text that a kind of fault is answered with.
func FaultText(k exchange.Kind) string { return mappingOf(k).text }

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

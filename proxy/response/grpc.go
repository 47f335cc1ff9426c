package response

import (
	"github.com/tulle-mesh/tulle/proxy/exchange"
	"github.com/tulle-mesh/tulle/proxy/h2"
	"github.com/tulle-mesh/tulle/proxy/message"
)

// GRPCStatus maps the HTTP status of a response that the proxy makes itself to a gRPC status, as Linkerd does.
func GRPCStatus(status int) int {
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

// ResetStatus maps the code of a stream that the server reset, by its word in h2.Code, to gRPC's. Most clients retry
// UNAVAILABLE, so it means that the call was certainly not processed. Source: gRPC over HTTP/2, "Errors"; codes that
// are not listed there are INTERNAL as in C-core.
func ResetStatus(code string) int {
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

// IsGRPC reports whether a request is a gRPC call. Any method counts but CONNECT: a client would take the 200 of an
// error for an open tunnel. Source: gRPC over HTTP/2, "Content-Type".
func IsGRPC(h *message.Head) bool {
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

// CallStatus returns the gRPC status that a call ended with; 2 (UNKNOWN) if it ended without one.
func CallStatus(x *exchange.Exchange) int16 {
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

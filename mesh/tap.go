package mesh

import (
	"net/netip"
	"time"
)

// TapDirection says on which side of a proxy a request or connection is.
type TapDirection uint8

// The directions. In a TapQuery, TapBoth asks for both; a TapEvent has one of the others.
const (
	TapBoth TapDirection = iota
	TapInbound
	TapOutbound
)

// String returns inbound, outbound or both.
func (d TapDirection) String() string {
	switch d {
	case TapInbound:
		return "inbound"
	case TapOutbound:
		return "outbound"
	default:
		return "both"
	}
}

// Bounds of TapQuery.PerSecond: the value that 0 means, and the largest that a proxy accepts.
const (
	DefaultTapRate = 100
	MaxTapRate     = 1000
)

// Bounds of one message of a proxy. The tap server refuses a message beyond them: the proxy may be anybody's program.
const (
	// MaxTapMessage bounds the bytes of a message, MaxTapEvents its events.
	MaxTapMessage = 64 << 10
	MaxTapEvents  = 64
	// MaxTapText bounds a text that a client chose: a method, a path, the name or the value of a header. The rest is
	// cut, and "…" stands for it.
	MaxTapText = 2048
	// MaxTapHeaders bounds the headers of an event, MaxTapHeaderBytes the bytes of all before the last.
	MaxTapHeaders     = 64
	MaxTapHeaderBytes = 8 << 10
)

// TapQuery says which requests and connections of one proxy a subscriber wants to see. An empty field matches
// everything. The proxy evaluates it.
type TapQuery struct {
	Direction TapDirection
	// Method and Scheme are compared with regard to case, Authority without. PathPrefix is compared with the path and the
	// query. An opaque connection has none of the four, so it matches only if all are empty.
	Method, Scheme, Authority, PathPrefix string
	// To limits the query to outbound requests and connections to this destination.
	To TapDestination
	// Headers asks for headers and trailers.
	Headers bool
	// PerSecond bounds the new requests and connections a second that the proxy reports. 0 means DefaultTapRate.
	PerSecond uint32
}

// TapDestination describes the endpoints that a request or connection goes to. The zero value is any endpoint.
type TapDestination struct {
	Namespace string
	// Kind is "pod", "service", "serviceaccount", "authority", a kind of PodRef.OwnerKind, or "" for any. Name is the
	// object's name; "" is any.
	Kind, Name string
}

// TapKind says what happened to a request or connection.
type TapKind uint8

// The kinds of event: three of a request, two of an opaque connection.
const (
	TapRequest TapKind = iota
	TapResponse
	TapEnd
	TapOpen
	TapClose
)

// TapEvent is one thing that happened to a request or to a connection. Fields that its kind does not list are zero.
type TapEvent struct {
	Kind TapKind
	// ID numbers the requests and connections of the proxy; the events of one share it.
	ID        uint64
	At        time.Time
	Direction TapDirection
	// Src is the client, Dst the endpoint or the pod's application.
	Src, Dst TapPeer
	// TLS is "true" for mesh TLS; otherwise the values of the label tls of the metrics: "no_identity", "loopback" or
	// "opaque".
	TLS string
	// Route, Server and Authorization are the objects that decided, as far as they are known.
	Route, Server, Authorization Ref

	// Method, Scheme, Authority and Path, with the query, are those of the client. TapRequest has them.
	Method, Scheme, Authority, Path string
	// Headers are those of the request, of the response, or the trailers. Values of secret headers are redacted.
	Headers []TapHeader
	// HeadersOmitted counts the field lines that Headers leaves out, because there are too many.
	HeadersOmitted uint32
	// Status is the HTTP status of a TapResponse.
	Status int
	// Since is the time from the request's head to the event; at TapClose from the connection's begin.
	Since time.Duration
	// SinceResponse is the time from the response's head to a TapEnd.
	SinceResponse time.Duration
	// RequestBytes and ResponseBytes are body bytes at TapEnd, and what the client and the server sent at TapClose.
	RequestBytes, ResponseBytes uint64
	// GRPCStatus is a gRPC call's status at TapEnd; -1 without one.
	GRPCStatus int16
	// Error is the word of the metrics for the reason that a request or connection failed; "" if it did not.
	Error string
	// Attempts counts how often the request was given to an endpoint, at TapEnd.
	Attempts uint32
}

// TapPeer is one end of a request or connection, as far as the proxy knows it.
type TapPeer struct {
	Addr netip.AddrPort
	// ID is the identity that it proved or must prove; zero without mesh TLS.
	ID      ID
	Pod     PodRef
	Service ServiceRef
}

// TapHeader is one field line.
type TapHeader struct{ Name, Value string }

// TapEvents is what a proxy sends at once: events in their order, and what was left out since the last.
type TapEvents struct {
	Events []TapEvent
	// Lost counts events that were dropped because the subscriber read too slowly. Skipped counts requests and
	// connections beyond TapQuery.PerSecond.
	Lost, Skipped uint64
}

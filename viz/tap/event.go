// Package tap watches the requests of many proxies at once, and prints what they show.
//
// It owns the connections to the proxies, the merged stream with its rate, and the formats of an event: Linkerd's lines
// and JSON. It must not reach Kubernetes: the caller says which proxies to watch and which pod has an address. The one
// idea: if a proxy ends, loses events or cannot be reached, the stream has a Notice and the other proxies go on.
package tap

import (
	"strings"
	"time"

	"github.com/tulle-mesh/tulle/mesh"
)

// Event is one event of one proxy. Its JSON has Linkerd's keys; those of connections, the proxy and the objects that
// decided are Tulle's own. Its texts are as a client sent them, so print them with Text or JSON only.
type Event struct {
	Source         Endpoint          `json:"source"`
	Destination    Endpoint          `json:"destination"`
	RouteMeta      map[string]string `json:"routeMeta"`
	ProxyDirection string            `json:"proxyDirection"` // INBOUND or OUTBOUND

	RequestInit  *RequestInit  `json:"requestInitEvent,omitempty"`
	ResponseInit *ResponseInit `json:"responseInitEvent,omitempty"`
	ResponseEnd  *ResponseEnd  `json:"responseEndEvent,omitempty"`

	ConnectionOpen  *ConnectionOpen  `json:"connectionOpenEvent,omitempty"`
	ConnectionClose *ConnectionClose `json:"connectionCloseEvent,omitempty"`

	// Proxy is the pod whose proxy saw it, as namespace/name.
	Proxy         string    `json:"proxy"`
	Timestamp     time.Time `json:"timestamp"`
	Server        string    `json:"server,omitempty"`
	Authorization string    `json:"authorization,omitempty"`
}

// Endpoint is one end of a request or a connection. Metadata has labels without the prefix of the metrics: namespace,
// pod, deployment, serviceaccount, service, tls, client_id, server_id.
type Endpoint struct {
	IP       string            `json:"ip"`
	Port     uint32            `json:"port"`
	Metadata map[string]string `json:"metadata"`
}

// StreamID names a request or connection: the number of its proxy in this watch, and its number there.
type StreamID struct {
	Base   uint32 `json:"base"`
	Stream uint64 `json:"stream"`
}

// Duration is a time span in the JSON form of Linkerd.
type Duration struct {
	Seconds int64 `json:"seconds,omitempty"`
	Nanos   int32 `json:"nanos,omitempty"`
}

func durationOf(d time.Duration) Duration {
	return Duration{Seconds: int64(d / time.Second), Nanos: int32(d % time.Second)}
}

// micros returns the span in microseconds.
func (d Duration) micros() int64 { return d.Seconds*1e6 + int64(d.Nanos)/1e3 }

// Header is one field line.
type Header struct {
	Name     string `json:"name"`
	ValueStr string `json:"valueStr"`
}

// RequestInit is the head of a request.
type RequestInit struct {
	ID        StreamID `json:"id"`
	Method    string   `json:"method"`
	Scheme    string   `json:"scheme"`
	Authority string   `json:"authority"`
	Path      string   `json:"path"`
	Headers   []Header `json:"headers"`
	// HeadersOmitted counts the field lines that the proxy left out, because there are too many.
	HeadersOmitted uint32 `json:"headersOmitted,omitempty"`
}

// ResponseInit is the head of a response.
type ResponseInit struct {
	ID               StreamID `json:"id"`
	SinceRequestInit Duration `json:"sinceRequestInit"`
	HTTPStatus       int      `json:"httpStatus"`
	Headers          []Header `json:"headers"`
	HeadersOmitted   uint32   `json:"headersOmitted,omitempty"`
}

// ResponseEnd is the end of a request.
type ResponseEnd struct {
	ID                StreamID `json:"id"`
	SinceRequestInit  Duration `json:"sinceRequestInit"`
	SinceResponseInit Duration `json:"sinceResponseInit"`
	RequestBytes      uint64   `json:"requestBytes"`
	ResponseBytes     uint64   `json:"responseBytes"`
	Trailers          []Header `json:"trailers"`
	// GRPCStatusCode is 0 without one, as in Linkerd; GRPC says whether there is one.
	GRPCStatusCode int16  `json:"grpcStatusCode"`
	GRPC           bool   `json:"grpc"`
	Error          string `json:"error,omitempty"`
	Attempts       uint32 `json:"attempts,omitempty"`
}

// ConnectionOpen is the start of a connection that is not HTTP.
type ConnectionOpen struct {
	ID StreamID `json:"id"`
}

// ConnectionClose is the end of a connection that is not HTTP. ReadBytes and WriteBytes are what the client read and
// wrote.
type ConnectionClose struct {
	ID         StreamID `json:"id"`
	SinceOpen  Duration `json:"sinceOpen"`
	ReadBytes  uint64   `json:"readBytes"`
	WriteBytes uint64   `json:"writeBytes"`
	Error      string   `json:"error,omitempty"`
}

// newEvent returns the event e of a target, which is number base of the watch.
func newEvent(base uint32, target *Target, e *mesh.TapEvent) *Event {
	id := StreamID{Base: base, Stream: e.ID}
	out := &Event{
		Source: endpointOf(e.Src), Destination: endpointOf(e.Dst), RouteMeta: routeMeta(e.Route),
		ProxyDirection: strings.ToUpper(e.Direction.String()), Proxy: target.name(),
		Timestamp: e.At.UTC(), Server: name(e.Server), Authorization: name(e.Authorization),
	}
	if e.Direction == mesh.TapInbound {
		out.Source.set("tls", e.TLS)
		out.Source.set("client_id", e.Src.ID.String())
	} else {
		out.Destination.set("tls", e.TLS)
		out.Destination.set("server_id", e.Dst.ID.String())
	}
	switch e.Kind {
	case mesh.TapRequest:
		out.RequestInit = &RequestInit{
			ID: id, Method: e.Method, Scheme: e.Scheme, Authority: e.Authority, Path: e.Path, Headers: headersOf(e),
			HeadersOmitted: e.HeadersOmitted,
		}
	case mesh.TapResponse:
		out.ResponseInit = &ResponseInit{
			ID: id, SinceRequestInit: durationOf(e.Since), HTTPStatus: e.Status, Headers: headersOf(e),
			HeadersOmitted: e.HeadersOmitted,
		}
	case mesh.TapEnd:
		out.ResponseEnd = &ResponseEnd{
			ID: id, SinceRequestInit: durationOf(e.Since), SinceResponseInit: durationOf(e.SinceResponse),
			RequestBytes: e.RequestBytes, ResponseBytes: e.ResponseBytes, Trailers: headersOf(e),
			GRPCStatusCode: max(e.GRPCStatus, 0), GRPC: e.GRPCStatus >= 0, Error: e.Error, Attempts: e.Attempts,
		}
	case mesh.TapOpen:
		out.ConnectionOpen = &ConnectionOpen{ID: id}
	case mesh.TapClose:
		out.ConnectionClose = &ConnectionClose{
			ID: id, SinceOpen: durationOf(e.Since), ReadBytes: e.ResponseBytes, WriteBytes: e.RequestBytes, Error: e.Error,
		}
	}
	return out
}

func endpointOf(p mesh.TapPeer) Endpoint {
	e := Endpoint{Port: uint32(p.Addr.Port()), Metadata: map[string]string{}}
	if p.Addr.IsValid() {
		e.IP = p.Addr.Addr().String()
	}
	namespace := p.Pod.Namespace
	if namespace == "" {
		namespace = p.Service.Namespace
	}
	if namespace == "" {
		namespace = p.ID.Namespace
	}
	e.set("namespace", namespace)
	e.set("pod", p.Pod.Name)
	e.set("service", p.Service.Name)
	account := p.Pod.ServiceAccount
	if account == "" {
		account = p.ID.ServiceAccount
	}
	e.set("serviceaccount", account)
	if p.Pod.OwnerKind != "" {
		e.set(p.Pod.OwnerKind, p.Pod.OwnerName)
	}
	e.set("pod_template_hash", p.Pod.PodTemplateHash)
	e.set("control_plane_ns", p.Pod.ControlPlaneNS)
	return e
}

// set adds a label, unless it is empty.
func (e *Endpoint) set(label, value string) {
	if value != "" {
		e.Metadata[label] = value
	}
}

// routeMeta returns the labels that name a route; nil for the default route of a Service.
func routeMeta(r mesh.Ref) map[string]string {
	if r.Name == "" || r.Kind == "default" {
		return nil
	}
	meta := map[string]string{"route": r.Name}
	for label, value := range map[string]string{"kind": r.Kind, "namespace": r.Namespace} {
		if value != "" {
			meta[label] = value
		}
	}
	return meta
}

// name returns an object as kind/name; "" for the zero Ref.
func name(r mesh.Ref) string {
	if r == (mesh.Ref{}) {
		return ""
	}
	return strings.ToLower(r.Kind) + "/" + r.Name
}

func headersOf(e *mesh.TapEvent) []Header {
	var out []Header
	for _, h := range e.Headers {
		out = append(out, Header{Name: h.Name, ValueStr: h.Value})
	}
	return out
}

// id returns the event's StreamID.
func (e *Event) id() StreamID {
	switch {
	case e.RequestInit != nil:
		return e.RequestInit.ID
	case e.ResponseInit != nil:
		return e.ResponseInit.ID
	case e.ResponseEnd != nil:
		return e.ResponseEnd.ID
	case e.ConnectionOpen != nil:
		return e.ConnectionOpen.ID
	case e.ConnectionClose != nil:
		return e.ConnectionClose.ID
	}
	return StreamID{}
}

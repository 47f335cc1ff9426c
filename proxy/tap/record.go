package tap

import (
	"slices"
	"sync"
	"time"

	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/proxy/exchange"
	"github.com/tulle-mesh/tulle/proxy/message"
	"github.com/tulle-mesh/tulle/proxy/relay"
)

// requests are records that have ended, to be used again.
var requests = sync.Pool{New: func() any { return new(Request) }}

// Request is the record of one request that somebody watches. Only the goroutine that runs the handler may use it, and
// nobody after End.
type Request struct {
	hub *Hub
	// subs are the subscriptions whose query matches. Until Show, those with a destination are candidates.
	subs    []*slot
	headers bool // some of them want headers
	head    head
	// common is what the next events have: ends, objects, number.
	common    mesh.TapEvent
	shown     bool
	responded time.Time // when the response's event was emitted; zero before
}

// head is what the event of a request's head needs.
type head struct {
	method, scheme, authority, path string
	headers                         []mesh.TapHeader
	omitted                         uint32
}

// Request begins the record of a request whose head was read, before anything edits it. It is nil if nobody wants it.
// The order bounds what a subscription costs: first filters that are a few comparisons, then a bucket, then the copy.
func (h *Hub) Request(d mesh.TapDirection, x *exchange.Exchange) *Request {
	list := h.subs.Load()
	if list == nil {
		return nil
	}
	var r *Request
	for _, s := range *list {
		if !s.wantsDirection(d) || !s.wantsRequest(h, &x.Request) {
			continue
		}
		bucket := s.rate
		if s.needsEndpoint { // it takes from its rate once the endpoint is known
			bucket = s.candidates
		}
		if !s.take(bucket, x.Begun) {
			continue
		}
		if r == nil {
			r = requests.Get().(*Request)
			r.hub, r.common = h, h.event(d, x.Begun)
		}
		r.subs = append(r.subs, s.slot)
		r.headers = r.headers || s.query.Headers
	}
	if r != nil {
		r.copyHead(&x.Request)
	}
	return r
}

// event returns what all events of a new request or connection have.
func (h *Hub) event(d mesh.TapDirection, at time.Time) mesh.TapEvent {
	e := mesh.TapEvent{ID: h.ids.Add(1), Direction: d, At: at, GRPCStatus: -1}
	if d == mesh.TapOutbound {
		e.Src.Pod = h.self
	} else {
		e.Dst.Pod = h.self
	}
	return e
}

// copyHead copies what the request's event needs: the engine may change the head before Show.
func (r *Request) copyHead(h *message.Head) {
	r.head = head{
		method: word(h.Method()), scheme: word(h.Part(message.Scheme)), authority: text(h.Authority()),
		path: r.hub.shownPath(h.Path()),
	}
	if r.headers {
		r.head.headers, r.head.omitted = r.hub.fields(h)
	}
}

// Common returns what the next events say about the ends of the request and the objects that decided on it. The caller
// may set Src, Dst, TLS, Route, Server and Authorization.
func (r *Request) Common() *mesh.TapEvent { return &r.common }

// Shown reports whether the request's own event was emitted.
func (r *Request) Shown() bool { return r.shown }

// Show emits the request's own event, once. The caller has filled Common.
func (r *Request) Show() {
	if r.shown {
		return
	}
	r.shown = true
	matching := r.subs[:0]
	for _, slot := range r.subs {
		s := slot.Load()
		if s == nil || s.needsEndpoint &&
			(!s.wantsDestination(&r.common.Dst, r.head.authority) || !s.take(s.rate, r.common.At)) {
			continue
		}
		matching = append(matching, slot)
	}
	clear(r.subs[len(matching):])
	if r.subs = matching; len(matching) == 0 {
		r.head = head{}
		return
	}
	e := r.common
	e.Kind, e.Method, e.Scheme, e.Authority, e.Path = mesh.TapRequest, r.head.method, r.head.scheme, r.head.authority,
		r.head.path
	e.Headers, e.HeadersOmitted = r.head.headers, r.head.omitted
	r.head = head{}
	r.hub.emit(r.subs, &e)
}

// watched drops the subscriptions that have ended, and reports whether one is left.
func watched(subs *[]*slot) bool {
	*subs = slices.DeleteFunc(*subs, func(s *slot) bool { return s.Load() == nil })
	return len(*subs) > 0
}

// Response emits the event of the response's head, as it goes to the client.
func (r *Request) Response(x *exchange.Exchange) {
	r.Show()
	if !r.responded.IsZero() || !watched(&r.subs) {
		return
	}
	at := x.Responded // set already if the proxy responded itself
	if at.IsZero() {
		at = time.Now()
	}
	r.responded = at
	e := r.common
	e.Kind, e.At, e.Since, e.Status = mesh.TapResponse, at, at.Sub(x.Begun), x.Response.Status
	if r.headers {
		e.Headers, e.HeadersOmitted = r.hub.fields(&x.Response)
	}
	r.hub.emit(r.subs, &e)
}

// Result is how a request ended: the gRPC status or -1, and the word for a failure or "".
type Result struct {
	GRPC  int16
	Error string
}

// End emits the last event of the request, and those before it that are still missing. The record must not be used any
// more.
func (r *Request) End(x *exchange.Exchange, result Result) {
	r.end(x, result)
	clear(r.subs)
	*r = Request{subs: r.subs[:0]}
	requests.Put(r)
}

func (r *Request) end(x *exchange.Exchange, result Result) {
	if x.Response.Status != 0 {
		r.Response(x)
	}
	r.Show()
	if !watched(&r.subs) {
		return
	}
	at := x.Ended
	if at.IsZero() {
		at = time.Now()
	}
	if at.Before(r.responded) { // the engine reads its clock once a batch
		at = r.responded
	}
	e := r.common
	e.Kind, e.At, e.Since = mesh.TapEnd, at, at.Sub(x.Begun)
	if !r.responded.IsZero() {
		e.SinceResponse = at.Sub(r.responded)
	}
	e.RequestBytes, e.ResponseBytes = uint64(x.RequestBytes), uint64(x.ResponseBytes)
	e.GRPCStatus, e.Error, e.Attempts = result.GRPC, result.Error, uint32(x.Attempts)
	if r.headers && x.Trailers.Len() > 0 {
		e.Headers, e.HeadersOmitted = r.hub.fields(&x.Trailers)
	}
	r.hub.emit(r.subs, &e)
}

// Connection is the record of one connection that is not HTTP and that somebody watches. A nil Connection records
// nothing.
type Connection struct {
	hub    *Hub
	subs   []*slot
	common mesh.TapEvent
	client relay.Totals
}

// Open begins the record of a connection and emits its first event. common says what is known of its ends and of the
// objects that decided on it. Open returns nil if nobody wants the connection.
func (h *Hub) Open(d mesh.TapDirection, common mesh.TapEvent) *Connection {
	list := h.subs.Load()
	if list == nil {
		return nil
	}
	now := time.Now()
	var c *Connection
	for _, s := range *list {
		if !s.wantsDirection(d) || !s.wantsConnections() || !s.wantsDestination(&common.Dst, "") || !s.take(s.rate, now) {
			continue
		}
		if c == nil {
			c = &Connection{hub: h, common: h.event(d, now)}
		}
		c.subs = append(c.subs, s.slot)
	}
	if c == nil {
		return nil
	}
	e := &c.common
	if d == mesh.TapOutbound {
		common.Src.Pod = e.Src.Pod
	} else {
		common.Dst.Pod = e.Dst.Pod
	}
	e.Src, e.Dst, e.TLS = common.Src, common.Dst, common.TLS
	e.Route, e.Server, e.Authorization = common.Route, common.Server, common.Authorization
	open := c.common
	open.Kind = mesh.TapOpen
	h.emit(c.subs, &open)
	return c
}

// Count counts the bytes of the connection, where client is its client's side. Call it before the relay runs.
func (c *Connection) Count(client *relay.End) {
	if c != nil {
		client.Totals = &c.client
	}
}

// Close emits the last event, with the word for a failure or "".
func (c *Connection) Close(failure string) {
	if c == nil || !watched(&c.subs) {
		return
	}
	e, now := c.common, time.Now()
	e.Kind, e.Since, e.At, e.Error = mesh.TapClose, now.Sub(c.common.At), now, failure
	e.RequestBytes, e.ResponseBytes = c.client.Read.Load(), c.client.Written.Load()
	c.hub.emit(c.subs, &e)
}

// Package tap shows a proxy's requests and connections to those who watch them.
//
// It owns the subscriptions, their filters and bounds, the records of what is watched, and the server on the control
// port. It must not decide anything about traffic, and knows no direction's own types: proxy/inbound and proxy/outbound
// fill the records. The one idea: while nobody watches, a request costs one load of a nil pointer; while somebody does,
// an event is dropped rather than waited with.
package tap

import (
	"strings"
	"sync"
	"sync/atomic"

	"github.com/tulle-mesh/tulle/mesh"
)

// maxSubscriptions bounds the subscriptions of one proxy. Each request is compared with all of them.
const maxSubscriptions = 8

// Hub hands the events of requests and connections to the subscriptions that want them. The zero Hub is ready to use.
// Call Configure before the first connection is accepted. The other methods may be called by several goroutines.
type Hub struct {
	self       mesh.PodRef                     // the source of outbound and the destination of inbound traffic
	subs       atomic.Pointer[[]*subscription] // nil while there is none
	ids        atomic.Uint64
	lost       atomic.Uint64   // events, of all subscriptions
	redacted   map[string]bool // lower-case names of headers, beyond the secret ones
	parameters map[string]bool // lower-case names of query parameters, beyond the secret ones; nil means all

	mu sync.Mutex // serializes changes of subs
}

// Idle reports whether nobody watches. It is inlined into the path of every request.
func (h *Hub) Idle() bool { return h.subs.Load() == nil }

// Lost returns how many events were dropped because a subscriber read too slowly.
func (h *Hub) Lost() uint64 { return h.lost.Load() }

// Subscriptions returns how many subscriptions there are.
func (h *Hub) Subscriptions() int {
	if list := h.subs.Load(); list != nil {
		return len(*list)
	}
	return 0
}

// Configure describes the proxy's own pod, and names headers and query parameters whose values are not shown beside
// those that always are secret. No query parameter, or AllParameters among them, means all.
func (h *Hub) Configure(self mesh.PodRef, headers, parameters []string) {
	h.self, h.redacted, h.parameters = self, lowerSet(headers), lowerSet(parameters)
	if len(parameters) == 0 || h.parameters[AllParameters] {
		h.parameters = nil
	}
}

func lowerSet(names []string) map[string]bool {
	set := map[string]bool{}
	for _, name := range names {
		set[strings.ToLower(name)] = true
	}
	return set
}

// subscribe adds a subscription. It is nil if there are too many.
func (h *Hub) subscribe(q mesh.TapQuery) *subscription {
	h.mu.Lock()
	defer h.mu.Unlock()
	var list []*subscription
	if old := h.subs.Load(); old != nil {
		list = *old
	}
	if len(list) >= maxSubscriptions {
		return nil
	}
	s := newSubscription(q)
	next := append(append([]*subscription(nil), list...), s)
	h.subs.Store(&next)
	return s
}

// unsubscribe removes a subscription. Records that have begun keep its slot only, so that a connection that stays open
// does not keep the events that nobody will read.
func (h *Hub) unsubscribe(s *subscription) {
	s.slot.Store(nil)
	h.mu.Lock()
	defer h.mu.Unlock()
	var next []*subscription
	for _, other := range *h.subs.Load() {
		if other != s {
			next = append(next, other)
		}
	}
	if next == nil {
		h.subs.Store(nil)
		return
	}
	h.subs.Store(&next)
}

// emit offers an event to the subscriptions that have not ended. They do not keep it.
func (h *Hub) emit(to []*slot, e *mesh.TapEvent) {
	for _, slot := range to {
		if s := slot.Load(); s != nil && !s.offer(e) {
			h.lost.Add(1)
		}
	}
}

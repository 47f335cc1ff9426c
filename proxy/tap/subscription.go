package tap

import (
	"cmp"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/proxy/limit"
	"github.com/tulle-mesh/tulle/proxy/message"
)

// Bounds of the events that wait for one subscriber.
const (
	queueEvents = 1024
	queueBytes  = 1 << 20
)

// subscription is one watcher with its query and its queue. The data path offers events, and never waits.
type subscription struct {
	query     mesh.TapQuery
	authority string // of the query, in lower case
	began     time.Time

	queue   chan *mesh.TapEvent // the Server receives; nobody closes it
	bytes   atomic.Int64        // of the events in queue
	lost    atomic.Uint64       // events that found no room
	skipped atomic.Uint64       // requests and connections beyond the rate

	mu   sync.Mutex // guards rate
	rate *limit.Bucket
}

func newSubscription(q mesh.TapQuery) *subscription {
	s := &subscription{
		query: q, authority: strings.ToLower(q.Authority), began: time.Now(),
		queue: make(chan *mesh.TapEvent, queueEvents),
	}
	perSecond := cmp.Or(q.PerSecond, mesh.DefaultTapRate)
	var buckets limit.Buckets[struct{}]
	s.rate = buckets.Open(struct{}{}, limit.Rate{Cost: time.Second / time.Duration(perSecond), Burst: time.Second}, 0)
	return s
}

// wantsDirection reports whether the query may match traffic of a direction.
func (s *subscription) wantsDirection(d mesh.TapDirection) bool {
	if s.query.Direction != mesh.TapBoth && s.query.Direction != d {
		return false
	}
	return d == mesh.TapOutbound || s.query.To == mesh.TapDestination{}
}

// wantsRequest reports whether the query matches a request's head.
func (s *subscription) wantsRequest(h *message.Head) bool {
	q := &s.query
	if q.Method != "" && string(h.Method()) != q.Method || q.Scheme != "" && string(h.Part(message.Scheme)) != q.Scheme {
		return false
	}
	if s.authority != "" && !message.EqualFold(h.Authority(), s.authority) {
		return false
	}
	path := h.Path()
	return len(path) >= len(q.PathPrefix) && string(path[:len(q.PathPrefix)]) == q.PathPrefix
}

// wantsConnections reports whether the query matches connections that are not HTTP.
func (s *subscription) wantsConnections() bool {
	q := &s.query
	return q.Method == "" && q.Scheme == "" && q.Authority == "" && q.PathPrefix == ""
}

// wantsDestination reports whether the query matches what a request or connection goes to.
func (s *subscription) wantsDestination(dst *mesh.TapPeer, authority string) bool {
	to, namespace := &s.query.To, cmp.Or(dst.Service.Namespace, dst.Pod.Namespace)
	if to.Namespace != "" && to.Namespace != namespace {
		return false
	}
	found := ""
	switch to.Kind {
	case "":
		return true
	case "pod":
		found = dst.Pod.Name
	case "service":
		found = dst.Service.Name
	case "serviceaccount":
		found = dst.Pod.ServiceAccount
	case "authority":
		return authority != "" && (to.Name == "" || strings.EqualFold(to.Name, authority))
	case dst.Pod.OwnerKind:
		found = dst.Pod.OwnerName
	}
	return found != "" && (to.Name == "" || to.Name == found)
}

// take reports whether one more request or connection fits the rate, and counts it if it does not.
func (s *subscription) take(now time.Time) bool {
	s.mu.Lock()
	at := now.Sub(s.began)
	fits := s.rate.Wait(at) <= 0
	if fits {
		s.rate.Take(at)
	}
	s.mu.Unlock()
	if !fits {
		s.skipped.Add(1)
	}
	return fits
}

// offer puts an event into the queue. If there is no room, it counts the event as lost and returns false.
func (s *subscription) offer(e *mesh.TapEvent) bool {
	size := sizeOf(e)
	if s.bytes.Add(size) > queueBytes {
		s.bytes.Add(-size)
		s.lost.Add(1)
		return false
	}
	select {
	case s.queue <- e:
		return true
	default:
		s.bytes.Add(-size)
		s.lost.Add(1)
		return false
	}
}

// received frees the room of an event that was taken from the queue.
func (s *subscription) received(e *mesh.TapEvent) { s.bytes.Add(-sizeOf(e)) }

// sizeOf estimates the memory of an event.
func sizeOf(e *mesh.TapEvent) int64 {
	n := 512 + len(e.Method) + len(e.Authority) + len(e.Path)
	for _, h := range e.Headers {
		n += len(h.Name) + len(h.Value) + 32
	}
	return int64(n)
}

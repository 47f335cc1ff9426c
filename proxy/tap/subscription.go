package tap

import (
	"cmp"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/proxy/clock"
	"github.com/tulle-mesh/tulle/proxy/limit"
	"github.com/tulle-mesh/tulle/proxy/message"
)

// maxCandidates bounds the requests a second that are copied because their endpoint decides whether a query with a
// destination matches. With headers a copy costs some times as much. Measured by BenchmarkCandidate.
const (
	maxCandidates        = 5000
	maxHeadersCandidates = 1000
)

// slot is what records keep of a subscription; empty once it has ended.
type slot struct{ atomic.Pointer[subscription] }

// subscription is one watcher with its query and its queue. The data path offers events, and never waits.
type subscription struct {
	slot      *slot
	query     mesh.TapQuery
	authority string // of the query, in lower case
	// toAuthority is the name of the destination in lower case, if that is an authority.
	toAuthority string
	// needsEndpoint means that whether the query matches depends on the endpoint.
	needsEndpoint bool
	began         time.Time

	queue   *queue
	lost    atomic.Uint64 // events that found no room
	skipped atomic.Uint64 // requests and connections beyond the rate

	mu         sync.Mutex // guards the fields below
	rate       *limit.Bucket
	candidates *limit.Bucket
}

func newSubscription(q mesh.TapQuery) *subscription {
	s := &subscription{
		query: q, authority: strings.ToLower(q.Authority), began: time.Now(), slot: &slot{},
		queue: newQueue(q.Headers),
	}
	s.needsEndpoint = q.To != mesh.TapDestination{}
	if q.To.Kind == "authority" {
		s.toAuthority, s.needsEndpoint = strings.ToLower(q.To.Name), q.To.Namespace != ""
	}
	s.slot.Store(s)
	s.rate = newBucket(time.Duration(cmp.Or(q.PerSecond, mesh.DefaultTapRate)))
	s.candidates = newBucket(maxCandidates)
	if q.Headers {
		s.candidates = newBucket(maxHeadersCandidates)
	}
	return s
}

// newBucket returns a bucket that allows a number of requests a second, and as many at once.
func newBucket(perSecond time.Duration) *limit.Bucket {
	var buckets limit.Buckets[struct{}]
	return buckets.Open(struct{}{}, limit.Rate{Cost: time.Second / perSecond, Burst: time.Second}, 0)
}

// wantsDirection reports whether the query may match traffic of a direction.
func (s *subscription) wantsDirection(d mesh.TapDirection) bool {
	if s.query.Direction != mesh.TapBoth && s.query.Direction != d {
		return false
	}
	return d == mesh.TapOutbound || s.query.To == mesh.TapDestination{}
}

// wantsRequest reports whether the query matches a request's head. The proxy asks for each request, before any rate,
// so nothing here may allocate or cost more than some comparisons.
func (s *subscription) wantsRequest(hub *Hub, h *message.Head) bool {
	q := &s.query
	if q.Method != "" && string(h.Method()) != q.Method || q.Scheme != "" && string(h.Part(message.Scheme)) != q.Scheme {
		return false
	}
	if s.authority != "" && !message.EqualFold(h.Authority(), s.authority) {
		return false
	}
	if q.To.Kind == "authority" && (len(h.Authority()) == 0 ||
		q.To.Name != "" && !message.EqualFold(h.Authority(), s.toAuthority)) {
		return false
	}
	return q.PathPrefix == "" || hub.hasPrefix(h.Path(), q.PathPrefix)
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

// take reports whether one more request or connection fits a bucket, and counts it if it does not.
func (s *subscription) take(bucket *limit.Bucket, now time.Time) bool {
	s.mu.Lock()
	at := clock.Instant(now.Sub(s.began))
	fits := bucket.Wait(at) <= 0
	if fits {
		bucket.Take(at)
	}
	s.mu.Unlock()
	if !fits {
		s.skipped.Add(1)
	}
	return fits
}

// offer puts an event into the queue. If there is no room, it counts the event as lost and returns false.
func (s *subscription) offer(e *mesh.TapEvent) bool {
	if !s.queue.push(e) {
		s.lost.Add(1)
		return false
	}
	return true
}

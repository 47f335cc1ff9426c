package injector

import (
	"net/netip"
	"slices"
	"sync"
	"time"
)

// readers are the requests with bodies that are being read. A client that sends slowly occupies a slot. When no slot is
// free, the address with most requests loses its oldest one. An API server sends a body at once.
type readers struct {
	mu   sync.Mutex // guards the field below
	open []*reader  // oldest first
}

// slowReading is how long a large body may take before others that wait end it.
const slowReading = 250 * time.Millisecond

type reader struct {
	began time.Time
	addr  netip.Addr
	large bool                  // it also occupies a slot for large bodies
	stop  func(time.Time) error // sets the deadline for reading
}

// add registers a request of an address.
func (r *readers) add(remote string, stop func(time.Time) error) *reader {
	one := &reader{began: time.Now(), stop: stop}
	if ap, err := netip.ParseAddrPort(remote); err == nil {
		one.addr = ap.Addr().Unmap()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.open = append(r.open, one)
	return one
}

// grew notes that the body is a large one.
func (r *readers) grew(one *reader) {
	r.mu.Lock()
	defer r.mu.Unlock()
	one.large = true
}

// done removes a request after its body was read or failed. It may be called again.
func (r *readers) done(one *reader) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.open = slices.DeleteFunc(r.open, func(o *reader) bool { return o == one })
}

// evict ends the reading of one request; with large, of one with a large body that is slow. It reports false when there
// is none.
func (r *readers) evict(large bool) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	may := func(o *reader) bool { return !large || o.large && time.Since(o.began) >= slowReading }
	slots := map[netip.Addr]int{}
	for _, o := range r.open {
		if may(o) {
			slots[o.addr]++
		}
	}
	at := -1
	for i, o := range r.open {
		if may(o) && (at < 0 || slots[o.addr] > slots[r.open[at].addr]) {
			at = i
		}
	}
	if at < 0 {
		return false
	}
	_ = r.open[at].stop(time.Now()) // it fails only for connections without deadlines, as in tests
	r.open = slices.Delete(r.open, at, at+1)
	return true
}

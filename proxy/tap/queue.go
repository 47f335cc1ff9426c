package tap

import (
	"sync"

	"github.com/tulle-mesh/tulle/api"
	"github.com/tulle-mesh/tulle/mesh"
)

// Bounds of the events that wait for one subscriber, with those of messages that are being sent.
const (
	queueEvents = 1024
	queueBytes  = 1 << 20
)

// So many events, or bytes of them, are sent without waiting for more: a quarter of what may wait, so that a burst
// finds room until they are sent.
const (
	fullEvents = queueEvents / 4
	fullBytes  = queueBytes / 4
)

// Bounds of one message: its events, and their bytes before the last. The largest event has about 26 KiB, so a message
// stays below mesh.MaxTapMessage.
const (
	batchEvents = mesh.MaxTapEvents
	batchBytes  = 32 << 10
	maxEvent    = 26 << 10
)

// spareBytes is the largest buffer that is used again. A burst may need more for a moment.
const spareBytes = 64 << 10

// queue holds the events that wait for a subscriber. They are encoded already: an event that waited as a value would be
// garbage afterwards, and the proxy makes next to no other garbage, so that each collection would be the fault of tap.
// The two backlogs change places, and their buffers are used again.
type queue struct {
	headers bool // the subscriber wants headers
	// wake has a token once events wait, and full once so many wait that they must be sent soon. Their capacity is 1,
	// because one token is enough. One that is left over only sends a message early.
	wake, full chan struct{}

	mu      sync.Mutex // guards the fields below
	waiting backlog
	sending struct{ events, bytes int } // taken, and not sent yet
}

// backlog is a series of encoded events.
type backlog struct {
	encoded []byte // of pb.TapEvents.events
	ends    []int  // where each event ends in encoded
	next    int    // how many events message has returned
}

// newQueue returns an empty queue.
func newQueue(headers bool) *queue {
	return &queue{headers: headers, wake: make(chan struct{}, 1), full: make(chan struct{}, 1)}
}

// push encodes an event behind the others. It returns false if there is no room. It never waits.
func (q *queue) push(e *mesh.TapEvent) bool {
	q.mu.Lock()
	room := len(q.waiting.ends)+q.sending.events < queueEvents &&
		len(q.waiting.encoded)+q.sending.bytes+maxEvent <= queueBytes
	if room {
		q.waiting.encoded = api.AppendTapEvent(q.waiting.encoded, e, q.headers)
		q.waiting.ends = append(q.waiting.ends, len(q.waiting.encoded))
	}
	full := len(q.waiting.ends) >= fullEvents || len(q.waiting.encoded) >= fullBytes
	q.mu.Unlock()
	if room {
		signal(q.wake)
	}
	if full {
		signal(q.full)
	}
	return room
}

// signal puts a token into a channel of capacity 1, unless there is one.
func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// take returns the events that wait, and makes spare the buffer of the next ones. Call sent for each message of them.
func (q *queue) take(spare backlog) backlog {
	if cap(spare.encoded) > spareBytes {
		spare.encoded = nil
	}
	spare = backlog{encoded: spare.encoded[:0], ends: spare.ends[:0]}
	q.mu.Lock()
	defer q.mu.Unlock()
	taken := q.waiting
	q.waiting = spare
	q.sending.events += len(taken.ends)
	q.sending.bytes += len(taken.encoded)
	return taken
}

// sent makes room for as many events as a message had.
func (q *queue) sent(events, size int) {
	q.mu.Lock()
	q.sending.events -= events
	q.sending.bytes -= size
	q.mu.Unlock()
}

// message returns the events of the next message and their number, which is 0 at the end. The bytes are valid until the
// backlog is a queue's spare.
func (b *backlog) message() (encoded []byte, events int) {
	begin := 0
	if b.next > 0 {
		begin = b.ends[b.next-1]
	}
	end := begin
	for b.next < len(b.ends) && events < batchEvents && end-begin <= batchBytes {
		end = b.ends[b.next]
		b.next++
		events++
	}
	return b.encoded[begin:end], events
}

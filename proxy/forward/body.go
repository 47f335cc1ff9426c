package forward

import (
	"time"

	"github.com/tulle-mesh/tulle/proxy/buffer"
	"github.com/tulle-mesh/tulle/proxy/exchange"
	"github.com/tulle-mesh/tulle/proxy/message"
	"github.com/tulle-mesh/tulle/proxy/replay"
)

// A writer writes a body to a connection.
type writer interface {
	// push writes p behind what waits in b.q, and then b's end if the reader has ended. What the connection has no room
	// for stays in b.q.
	push(b *body, p []byte)
}

// A reader reads a body from a connection.
type reader interface {
	// consumed says that n bytes of b went to the writer: the reader may take as many more.
	consumed(b *body, n int)
}

// body is the body of one message on its way from a reader to a writer. Bytes that cannot go on at once wait in q. The
// reader stops when too many wait, because it only learns of consumed bytes.
type body struct {
	fl        *flight
	from      reader // nil for a reply
	to        writer // nil while the request has no connection yet
	q         buffer.Queue
	trailers  *message.Head // set before ended, if the message has a trailer section
	total     int64         // bytes that the reader gave
	moved     int64         // bytes that went to the destination's connection, since the beginning or the last rewind
	granted   int64         // bytes that the reader learned of
	sentAt    time.Time     // when bytes went there last
	firstAt   time.Time     // when the reader gave the first bytes
	lastMoved int64         // moved at the last look (pressure.go)
	ended     bool          // the reader gave everything
	sentEnd   bool          // the destination's connection has the end

	replay replay.Buffer // all bytes that the reader gave, for another attempt
}

// bodyLimit is how many bytes of an HTTP/1 body wait in q before its reader stops reading.
const bodyLimit = 64 << 10

// write takes bytes from the reader. last says that no more follow.
func (b *body) write(p []byte, last bool) {
	if b.total == 0 && len(p) > 0 {
		b.firstAt = b.fl.e.now
	}
	b.total += int64(len(p))
	b.ended = b.ended || last
	b.fl.moved = b.fl.e.now
	if b.replay.Active() {
		b.replay.Append(p, &b.fl.e.replays)
	}
	if b.fl.copies != nil && b == &b.fl.req {
		b.fl.copyBody(p, last)
	}
	if b.to == nil {
		b.enqueue(p)
	} else {
		b.to.push(b, p)
	}
	if e := b.fl.e; e.queued > lastResort*e.cfg.MaxQueuedBytes && len(p) > 0 && b.q.Size() > 0 {
		b.fl.fault(exchange.Fault{Side: exchange.Proxy, Kind: exchange.Overloaded, Reason: "queues"})
	}
}

// enqueue queues bytes that the writer has no room for.
func (b *body) enqueue(p []byte) {
	if len(p) > 0 {
		before := b.q.Memory()
		b.q.Append(p)
		b.fl.e.queued += b.q.Memory() - before
	}
}

// dequeue removes n bytes from the queue.
func (b *body) dequeue(n int) {
	before := b.q.Memory()
	b.q.Skip(n)
	b.fl.e.queued += b.q.Memory() - before
}

// advance notes that n bytes went to the writer.
func (b *body) advance(n int) {
	b.moved += int64(n)
	b.sentAt = b.fl.e.now
	if b.from != nil && n > 0 {
		fresh := max(0, b.moved-b.granted) // the reader knows of the others: they go a second time
		b.granted += fresh
		b.from.consumed(b, int(fresh))
	}
}

// end notes that the writer has written the end.
func (b *body) end() {
	b.sentEnd = true
	b.fl.bodyEnded(b)
}

// empty reports whether the message ends with its head: no byte came, and none will.
func (b *body) empty() bool { return b.ended && b.total == 0 && b.trailers == nil }

func (b *body) reset() {
	b.fl.e.queued -= b.q.Memory()
	b.q.Clear()
	b.replay.Drop("", &b.fl.e.replays)
	*b = body{fl: b.fl, q: b.q.Emptied(), replay: b.replay.Emptied()}
}

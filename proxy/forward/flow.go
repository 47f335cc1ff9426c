package forward

import (
	"time"

	"github.com/tulle-mesh/tulle/proxy/exchange"
	"github.com/tulle-mesh/tulle/proxy/message"
)

// A sink writes a body to a link.
type sink interface {
	// push writes p behind what waits in f.q, and then f's end if the source has ended. What the link does not take stays in f.q.
	push(f *flow, p []byte)
}

// A source reads a body from a link.
type source interface {
	// consumed says that n bytes of f went to the destination's link: as many more may come.
	consumed(f *flow, n int)
}

// flow is the body of one message on its way from one link to another. Bytes that cannot go on at once wait in q; the source stops
// when too many do, because it is told of consumed bytes only.
type flow struct {
	fl       *flight
	from     source // nil for a reply
	to       sink   // nil while the request has no connection yet
	q        queue
	trailers *message.Head // set before ended, if the message has a trailer section
	total    int64         // bytes that the source gave
	moved    int64         // bytes that went to the destination's link, since the beginning or the last rewind
	granted  int64         // bytes that the source was told of
	sentAt   time.Time     // when bytes went there last
	firstAt  time.Time     // when the source gave the first bytes
	looked   int64         // moved, when it was looked at last (pressure.go)
	ended    bool          // the source gave everything
	sentEnd  bool          // the destination's link has the end

	kept   queue  // all bytes that the source gave, as long as keeps
	keeps  bool   // what the source gives is kept for another attempt
	unkept string // why it is not
}

// flowLimit is how many bytes of an HTTP/1 body wait in a flow before its source stops reading.
const flowLimit = 64 << 10

// write takes bytes from the source; last says that there are no more.
func (f *flow) write(p []byte, last bool) {
	if f.total == 0 && len(p) > 0 {
		f.firstAt = f.fl.e.now
	}
	f.total += int64(len(p))
	f.ended = f.ended || last
	f.fl.moved = f.fl.e.now
	if f.keeps {
		f.keepMore(p)
	}
	if f.fl.copies != nil && f == &f.fl.req {
		f.fl.copyBody(p, last)
	}
	if f.to == nil {
		f.hold(p)
	} else {
		f.to.push(f, p)
	}
	if e := f.fl.e; e.queued > lastResort*e.cfg.MaxQueuedBytes && len(p) > 0 && f.q.size > 0 {
		f.fl.fault(exchange.Fault{Side: exchange.Proxy, Kind: exchange.Overloaded, Reason: "queues"})
	}
}

// hold keeps bytes that the sink has no room for.
func (f *flow) hold(p []byte) {
	if len(p) > 0 {
		before := f.q.memory
		f.q.append(p)
		f.fl.e.queued += f.q.memory - before
	}
}

// unhold removes n bytes from the queue.
func (f *flow) unhold(n int) {
	before := f.q.memory
	f.q.skip(n)
	f.fl.e.queued += f.q.memory - before
}

// went notes that n bytes went to the destination's link.
func (f *flow) went(n int) {
	f.moved += int64(n)
	f.sentAt = f.fl.e.now
	if f.from != nil && n > 0 {
		fresh := max(0, f.moved-f.granted) // the source was told of the others before they went a second time
		f.granted += fresh
		f.from.consumed(f, int(fresh))
	}
}

// end notes that the sink wrote the end.
func (f *flow) end() {
	f.sentEnd = true
	f.fl.flowEnded(f)
}

// empty says that nothing was given and nothing will be: the message ends with its head.
func (f *flow) empty() bool { return f.ended && f.total == 0 && f.trailers == nil }

func (f *flow) reset() {
	f.fl.e.queued -= f.q.memory
	f.q.clear()
	f.forget("")
	*f = flow{fl: f.fl, q: queue{chunks: f.q.chunks[:0]}, kept: queue{chunks: f.kept.chunks[:0]}}
}

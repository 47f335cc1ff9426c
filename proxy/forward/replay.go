package forward

import "github.com/tulle-mesh/tulle/proxy/exchange"

// A request whose body has begun to leave can be sent again only from a copy of it. It is kept where the handler asks for it
// (Exchange.Replay), as long as the body is short and the engine has memory for it.

// keepLimit is how much of a body is kept. Source: Linkerd's bound.
const keepLimit = 64 << 10

// keep begins to keep what the reader gives, if nothing has gone on yet.
func (b *body) keep() {
	if b.moved > 0 || b.unkept != "" {
		return
	}
	b.keeps = true
	for i := range b.q.chunks { // it came before there was anywhere to send it
		b.keepMore(b.q.chunks[i].b)
	}
}

// keepShort keeps a short body that nobody asked to keep, until the server has taken the request: one that it refuses is sent again. Half
// of the memory is left to those who asked.
func (b *body) keepShort() {
	e := b.fl.e
	if !b.keeps && b.fl.length <= keepLimit && e.kept < e.cfg.MaxKeptBytes/2 {
		b.keep()
	}
}

// keepMore keeps p, or gives up.
func (b *body) keepMore(p []byte) {
	if len(p) == 0 || !b.keeps {
		return
	}
	e := b.fl.e
	if b.kept.size+len(p) > keepLimit {
		b.forget(exchange.BodyTooLarge)
		return
	}
	e.kept -= b.kept.memory
	b.kept.append(p)
	e.kept += b.kept.memory
	if e.kept > e.cfg.MaxKeptBytes {
		b.forget(exchange.BuffersFull)
	}
}

// forget drops what was kept, and keeps nothing more.
func (b *body) forget(reason string) {
	if b.kept.size > 0 {
		b.fl.e.kept -= b.kept.memory
		b.kept.clear()
	}
	b.keeps, b.unkept = false, reason
}

// rewind makes the body begin again from the body's first byte. What did not leave is in the queue, what did is kept.
func (b *body) rewind() {
	if b.moved == 0 {
		return
	}
	b.unhold(b.q.size)
	b.moved, b.looked = 0, 0
	for i := range b.kept.chunks {
		b.hold(b.kept.chunks[i].b)
	}
}

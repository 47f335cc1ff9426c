package forward

import "github.com/tulle-mesh/tulle/proxy/exchange"

// A request whose body has begun to leave can be sent again only from a copy of it. It is kept where the handler asks for it
// (Exchange.Replay), as long as the body is short and the engine has memory for it.

// keepLimit is how much of a body is kept. Source: Linkerd's bound.
const keepLimit = 64 << 10

// keep begins to keep what the source gives, if nothing has gone on yet.
func (f *flow) keep() {
	if f.moved > 0 || f.unkept != "" {
		return
	}
	f.keeps = true
	for i := range f.q.chunks { // it came before there was anywhere to send it
		f.keepMore(f.q.chunks[i].b)
	}
}

// keepShort keeps a short body that nobody asked to keep, until the server has taken the request: one that it refuses is sent again. Half
// of the memory is left to those who asked.
func (f *flow) keepShort() {
	e := f.fl.e
	if !f.keeps && f.fl.length <= keepLimit && e.kept < e.cfg.MaxKeptBytes/2 {
		f.keep()
	}
}

// keepMore keeps p, or gives up.
func (f *flow) keepMore(p []byte) {
	if len(p) == 0 || !f.keeps {
		return
	}
	e := f.fl.e
	if f.kept.size+len(p) > keepLimit {
		f.forget(exchange.BodyTooLarge)
		return
	}
	e.kept -= f.kept.memory
	f.kept.append(p)
	e.kept += f.kept.memory
	if e.kept > e.cfg.MaxKeptBytes {
		f.forget(exchange.BuffersFull)
	}
}

// forget drops what was kept, and keeps nothing more.
func (f *flow) forget(reason string) {
	if f.kept.size > 0 {
		f.fl.e.kept -= f.kept.memory
		f.kept.clear()
	}
	f.keeps, f.unkept = false, reason
}

// rewind makes the flow begin again from the body's first byte. What did not leave is in the queue, what did is kept.
func (f *flow) rewind() {
	if f.moved == 0 {
		return
	}
	f.unhold(f.q.size)
	f.moved, f.looked = 0, 0
	for i := range f.kept.chunks {
		f.hold(f.kept.chunks[i].b)
	}
}

package forward

import "github.com/tulle-mesh/tulle/proxy/exchange"

// A request whose body has begun to leave can be sent again only from a copy of it. It is kept where the handler asks for it
// (Exchange.Replay), as long as the body is short and the engine has memory for it.

// keepLimit is how much of a body is kept. Source: Linkerd's bound.
const replayLimit = 64 << 10

// startReplay begins to keep what the reader gives, if nothing has gone on yet.
func (b *body) startReplay() {
	if b.moved > 0 || b.notReplayable != "" {
		return
	}
	b.replayable = true
	for i := range b.q.chunks { // it came before there was anywhere to send it
		b.appendReplay(b.q.chunks[i].b)
	}
}

// replayShort keeps a short body that nobody asked to keep, until the server has taken the request: one that it refuses is sent again. Half
// of the memory is left to those who asked.
func (b *body) replayShort() {
	e := b.fl.e
	if !b.replayable && b.fl.length <= replayLimit && e.replayBytes < e.cfg.MaxReplayBytes/2 {
		b.startReplay()
	}
}

// appendReplay keeps p, or gives up.
func (b *body) appendReplay(p []byte) {
	if len(p) == 0 || !b.replayable {
		return
	}
	e := b.fl.e
	if b.replay.size+len(p) > replayLimit {
		b.dropReplay(exchange.BodyTooLarge)
		return
	}
	e.replayBytes -= b.replay.memory
	b.replay.append(p)
	e.replayBytes += b.replay.memory
	if e.replayBytes > e.cfg.MaxReplayBytes {
		b.dropReplay(exchange.BuffersFull)
	}
}

// dropReplay drops what was kept, and keeps nothing more.
func (b *body) dropReplay(reason string) {
	if b.replay.size > 0 {
		b.fl.e.replayBytes -= b.replay.memory
		b.replay.clear()
	}
	b.replayable, b.notReplayable = false, reason
}

// rewind makes the body begin again from the body's first byte. What did not leave is in the queue, what did is kept.
func (b *body) rewind() {
	if b.moved == 0 {
		return
	}
	b.dequeue(b.q.size)
	b.moved, b.lastMoved = 0, 0
	for i := range b.replay.chunks {
		b.enqueue(b.replay.chunks[i].b)
	}
}

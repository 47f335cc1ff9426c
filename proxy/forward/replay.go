package forward

import "github.com/tulle-mesh/tulle/proxy/exchange"

// A request whose body has begun to leave can only be sent again from a copy: the replay buffer. The handler asks for
// it (Exchange.BufferBody). It exists as long as the body is short and the engine has memory for it.

// replayLimit is the largest body in a replay buffer. Source: Linkerd's bound.
const replayLimit = 64 << 10

// startReplay begins to copy what the reader gives, if nothing has gone on yet.
func (b *body) startReplay() {
	if b.moved > 0 || b.notBuffered != "" {
		return
	}
	b.buffered = true
	for p := range b.q.All() { // it came before there was anywhere to send it
		b.appendReplay(p)
	}
}

// replayShort copies a short body that nobody asked to copy, until the server has taken the request: if it refuses, the
// request is sent again. Half of the memory stays for bodies that the handler asked for.
func (b *body) replayShort() {
	e := b.fl.e
	if !b.buffered && b.fl.length <= replayLimit && e.replayBytes < e.cfg.MaxReplayBytes/2 {
		b.startReplay()
	}
}

// appendReplay copies p, or drops the copy.
func (b *body) appendReplay(p []byte) {
	if len(p) == 0 || !b.buffered {
		return
	}
	e := b.fl.e
	if b.replay.Size()+len(p) > replayLimit {
		b.dropReplay(exchange.BodyTooLarge)
		return
	}
	e.replayBytes -= b.replay.Memory()
	b.replay.Append(p)
	e.replayBytes += b.replay.Memory()
	if e.replayBytes > e.cfg.MaxReplayBytes {
		b.dropReplay(exchange.BuffersFull)
	}
}

// dropReplay drops the copy and makes no other. reason says why the body cannot be sent again.
func (b *body) dropReplay(reason string) {
	if b.replay.Size() > 0 {
		b.fl.e.replayBytes -= b.replay.Memory()
		b.replay.Clear()
	}
	b.buffered, b.notBuffered = false, reason
}

// rewind makes the body begin again from its first byte. What did not leave is in the queue, what did is in the replay
// buffer.
func (b *body) rewind() {
	if b.moved == 0 {
		return
	}
	b.dequeue(b.q.Size())
	b.moved, b.lastMoved = 0, 0
	for p := range b.replay.All() {
		b.enqueue(p)
	}
}

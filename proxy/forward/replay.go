package forward

import "github.com/tulle-mesh/tulle/proxy/replay"

// startReplay begins to copy what the reader gives, if nothing has gone on yet.
func (b *body) startReplay() {
	if b.moved > 0 || !b.replay.Start() {
		return
	}
	for p := range b.q.All() { // it came before there was anywhere to send it
		b.replay.Append(p, &b.fl.e.replays)
	}
}

// replayShort copies a short body that nobody asked to copy, until the server has taken the request: if it refuses, the
// request is sent again. Half of the memory stays for bodies that the handler asked for.
func (b *body) replayShort() {
	e := b.fl.e
	if !b.replay.Active() && b.fl.length <= replay.Limit && e.replays.Used < e.replays.Max/2 {
		b.startReplay()
	}
}

// rewind makes the body begin again from its first byte. What did not leave is in the queue, what did is in the copy.
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

// Package replay holds copies of request bodies, so that a request whose body has begun to leave can be sent again.
//
// It owns Buffer and the bound on all of them, Memory. It decides nothing: the engine says when a copy begins, and the
// handler whether the request is sent again. The one idea: a copy that would be too large is dropped as a whole, with
// the reason. Nothing here is safe for concurrent use: the engine's lock guards it.
package replay

import (
	"iter"

	"github.com/tulle-mesh/tulle/proxy/buffer"
	"github.com/tulle-mesh/tulle/proxy/exchange"
)

// Limit is the largest body that is copied. Source: Linkerd's bound.
const Limit = 64 << 10

// Memory is what all Buffers of an engine may take together.
type Memory struct{ Used, Max int }

// Buffer is the copy of one body. The zero Buffer copies nothing until Start.
type Buffer struct {
	copied  buffer.Queue
	active  bool
	dropped string
}

// Active reports whether the Buffer holds the whole body so far.
func (b *Buffer) Active() bool { return b.active }

// Dropped returns why the body is not copied; "" if nobody dropped the copy for a reason.
func (b *Buffer) Dropped() string { return b.dropped }

// Start begins to copy, unless a copy was dropped for a reason. It reports whether it has begun.
func (b *Buffer) Start() bool {
	b.active = b.active || b.dropped == ""
	return b.active
}

// Append copies p if the Buffer is active. Beyond Limit or the memory of m, it drops the copy.
func (b *Buffer) Append(p []byte, m *Memory) {
	if len(p) == 0 || !b.active {
		return
	}
	if b.copied.Size()+len(p) > Limit {
		b.Drop(exchange.BodyTooLarge, m)
		return
	}
	m.Used -= b.copied.Memory()
	b.copied.Append(p)
	m.Used += b.copied.Memory()
	if m.Used > m.Max {
		b.Drop(exchange.BuffersFull, m)
	}
}

// Drop drops the copy and makes no other, if there is a reason why the body cannot be sent again.
func (b *Buffer) Drop(reason string, m *Memory) {
	if b.copied.Size() > 0 {
		m.Used -= b.copied.Memory()
		b.copied.Clear()
	}
	b.active, b.dropped = false, reason
}

// All returns the copied bytes in pieces. The Buffer must not change during the loop.
func (b *Buffer) All() iter.Seq[[]byte] { return b.copied.All() }

// Emptied returns an empty Buffer that reuses b's list of chunks. b must have been dropped, and must not be used again.
func (b *Buffer) Emptied() Buffer { return Buffer{copied: b.copied.Emptied()} }

// Package buffer holds bytes that wait to be sent.
//
// It owns Queue, and imports only proxy/sock of the proxy. The one idea: bytes lie in pooled chunks, so that an empty
// queue has no memory.
package buffer

import (
	"iter"

	"github.com/tulle-mesh/tulle/proxy/sock"
)

// chunk is a pooled buffer. b is the part that is not sent yet.
type chunk struct {
	b     []byte
	small *sock.Small
	large *sock.Large
}

func newChunk(need, behind int) chunk {
	if behind == 0 && need <= len(sock.Small{}) {
		s := sock.GetSmall()
		return chunk{b: s[:0], small: s}
	}
	l := sock.GetLarge()
	return chunk{b: l[:0], large: l}
}

// memory returns how many bytes the chunk occupies, full or not.
func (c *chunk) memory() int {
	if c.large != nil {
		return len(c.large)
	}
	return len(c.small)
}

func (c *chunk) free() {
	c.small.Put()
	c.large.Put()
	*c = chunk{}
}

// Queue is a queue of bytes in chunks. The zero Queue is empty. It returns its memory to the pools as soon as it is
// empty. It is not safe for concurrent use.
type Queue struct {
	chunks []chunk
	size   int
	memory int
}

// Size returns how many bytes the queue has.
func (q *Queue) Size() int { return q.size }

// Memory returns how many bytes the queue's chunks occupy, full or not.
func (q *Queue) Memory() int { return q.memory }

// All returns the bytes of the queue in pieces, from the front. The queue must not change during the loop.
func (q *Queue) All() iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for i := range q.chunks {
			if !yield(q.chunks[i].b) {
				return
			}
		}
	}
}

// AppendTo appends the pieces of the queue to bufs, for one vectored write.
func (q *Queue) AppendTo(bufs [][]byte) [][]byte {
	for i := range q.chunks {
		bufs = append(bufs, q.chunks[i].b)
	}
	return bufs
}

// Emptied returns an empty Queue that reuses q's list of chunks. q must be empty, and must not be used again.
func (q *Queue) Emptied() Queue { return Queue{chunks: q.chunks[:0]} }

func (q *Queue) grow(need int) {
	c := newChunk(need, len(q.chunks))
	q.memory += c.memory()
	q.chunks = append(q.chunks, c)
}

// Append copies p to the end.
func (q *Queue) Append(p []byte) {
	q.size += len(p)
	for len(p) > 0 {
		last := len(q.chunks) - 1
		if last < 0 || len(q.chunks[last].b) == cap(q.chunks[last].b) {
			q.grow(len(p))
			last++
		}
		c := &q.chunks[last]
		n := copy(c.b[len(c.b):cap(c.b)], p)
		c.b = c.b[:len(c.b)+n]
		p = p[n:]
	}
}

// Tail returns a slice with room for n bytes at the end of the queue, for a caller that appends by itself. Call Grew
// afterwards.
func (q *Queue) Tail(n int) []byte {
	last := len(q.chunks) - 1
	if last < 0 || cap(q.chunks[last].b)-len(q.chunks[last].b) < n {
		q.grow(n)
		last++
	}
	return q.chunks[last].b
}

// Grew adds the bytes that were appended to the result of Tail. It copies a slice that outgrew its chunk.
func (q *Queue) Grew(b []byte) {
	c := &q.chunks[len(q.chunks)-1]
	n := len(b) - len(c.b)
	if len(b) <= cap(c.b) {
		q.size += n
		c.b = c.b[:len(b)]
		return
	}
	q.Append(b[len(c.b):])
}

// Peek returns the first bytes of the queue: at most max, and only from the first chunk.
func (q *Queue) Peek(max int) []byte {
	if len(q.chunks) == 0 {
		return nil
	}
	b := q.chunks[0].b
	return b[:min(len(b), max)]
}

// Skip removes n bytes from the front.
func (q *Queue) Skip(n int) {
	q.size -= n
	done := 0
	for n > 0 {
		c := &q.chunks[done]
		if n < len(c.b) {
			c.b = c.b[n:]
			break
		}
		n -= len(c.b)
		q.memory -= c.memory()
		c.free()
		done++
	}
	if done > 0 {
		left := copy(q.chunks, q.chunks[done:])
		clear(q.chunks[left:])
		q.chunks = q.chunks[:left]
	}
}

// Clear removes everything.
func (q *Queue) Clear() { q.Skip(q.size); q.DropEmpty() }

// DropEmpty frees a chunk that Tail made and that is still empty.
func (q *Queue) DropEmpty() {
	for i := range q.chunks {
		q.chunks[i].free()
	}
	q.chunks, q.memory = q.chunks[:0], 0
}

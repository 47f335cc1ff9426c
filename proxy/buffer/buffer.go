// Package buffer holds bytes that wait to be sent, in pooled chunks of proxy/sock. It must not import any other package
// of the proxy.
package buffer

import (
	"iter"

	"github.com/tulle-mesh/tulle/proxy/sock"
)

// chunk is a pooled buffer. b is what is left to send.
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

// memory is how much the chunk takes, full or not.
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

// Queue is a queue of bytes in chunks. The zero Queue is empty. Its memory goes back to the pools as soon as it is
// empty. It is not safe for concurrent use.
type Queue struct {
	chunks []chunk
	size   int
	memory int
}

// Size is how many bytes the queue holds.
func (q *Queue) Size() int { return q.size }

// Memory is how many bytes the queue's chunks take, full or not.
func (q *Queue) Memory() int { return q.memory }

// All returns the bytes of the queue in pieces, from the front. The queue must not change meanwhile.
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

// Emptied returns an empty Queue that reuses q's list of chunks. q must be empty and is not used again.
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

// Tail returns a slice with room for n bytes at the end of the queue, for code that appends by itself. Grew must
// follow.
func (q *Queue) Tail(n int) []byte {
	last := len(q.chunks) - 1
	if last < 0 || cap(q.chunks[last].b)-len(q.chunks[last].b) < n {
		q.grow(n)
		last++
	}
	return q.chunks[last].b
}

// Grew takes what Tail returned, with bytes appended. A slice that outgrew its chunk is copied.
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

// Peek returns the first bytes of the queue, at most max.
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

// DropEmpty frees a chunk that Tail made and nobody filled.
func (q *Queue) DropEmpty() {
	for i := range q.chunks {
		q.chunks[i].free()
	}
	q.chunks, q.memory = q.chunks[:0], 0
}

package forward

import "github.com/tulle-mesh/tulle/proxy/sock"

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

// queue is a queue of bytes in chunks. Its memory goes back to the pools as soon as it is empty.
type queue struct {
	chunks []chunk
	size   int
	memory int // that the chunks take
}

func (q *queue) grow(need int) {
	c := newChunk(need, len(q.chunks))
	q.memory += c.memory()
	q.chunks = append(q.chunks, c)
}

// append copies p to the end.
func (q *queue) append(p []byte) {
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

// tail returns a slice with room for n bytes at the end of the queue, for code that appends by itself. grew must
// follow.
func (q *queue) tail(n int) []byte {
	last := len(q.chunks) - 1
	if last < 0 || cap(q.chunks[last].b)-len(q.chunks[last].b) < n {
		q.grow(n)
		last++
	}
	return q.chunks[last].b
}

// grew takes what tail returned, with bytes appended. A slice that outgrew its chunk is copied.
func (q *queue) grew(b []byte) {
	c := &q.chunks[len(q.chunks)-1]
	n := len(b) - len(c.b)
	if len(b) <= cap(c.b) {
		q.size += n
		c.b = c.b[:len(b)]
		return
	}
	q.append(b[len(c.b):])
}

// peek returns the first bytes of the queue, at most max.
func (q *queue) peek(max int) []byte {
	if len(q.chunks) == 0 {
		return nil
	}
	b := q.chunks[0].b
	return b[:min(len(b), max)]
}

// skip removes n bytes from the front.
func (q *queue) skip(n int) {
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

func (q *queue) clear() { q.skip(q.size); q.dropEmpty() }

// dropEmpty frees a chunk that tail made and nobody filled.
func (q *queue) dropEmpty() {
	for i := range q.chunks {
		q.chunks[i].free()
	}
	q.chunks, q.memory = q.chunks[:0], 0
}

package sock

import "sync"

// Large holds the data of one batch of a busy connection: four full TLS records with their framing. Small holds a
// typical message.
type (
	Large [64<<10 + 2<<10]byte
	Small [4 << 10]byte
)

// The pools are process-wide because no connection owns a buffer between two batches. So an idle connection has none.
var (
	largePool = sync.Pool{New: func() any { return new(Large) }}
	smallPool = sync.Pool{New: func() any { return new(Small) }}
)

// GetLarge takes a buffer from the pool. Its content is arbitrary.
func GetLarge() *Large { return largePool.Get().(*Large) }

// Put returns the buffer to the pool; nil is allowed.
func (b *Large) Put() {
	if b != nil {
		largePool.Put(b)
	}
}

// GetSmall takes a buffer from the pool. Its content is arbitrary.
func GetSmall() *Small { return smallPool.Get().(*Small) }

// Put returns the buffer to the pool; nil is allowed.
func (b *Small) Put() {
	if b != nil {
		smallPool.Put(b)
	}
}

// aheadBuffer holds unread bytes. They are in a pooled buffer, which is small while the connection waits for more and
// they fit. Bytes that unread returned are in a buffer of their own.
type aheadBuffer struct {
	buf   *Large
	small *Small
	bytes []byte
}

func (a *aheadBuffer) len() int { return len(a.bytes) }

// space returns free space after the unread bytes, and makes it if there is none.
func (a *aheadBuffer) space() []byte {
	if a.buf == nil {
		a.buf = GetLarge()
		a.bytes = a.buf[:copy(a.buf[:], a.bytes)]
		a.small.Put()
		a.small = nil
	} else if cap(a.bytes)-len(a.bytes) < len(a.buf)/2 {
		a.bytes = a.buf[:copy(a.buf[:], a.bytes)]
	}
	return a.bytes[len(a.bytes):cap(a.bytes)]
}

func (a *aheadBuffer) grew(n int) { a.bytes = a.bytes[:len(a.bytes)+n] }

func (a *aheadBuffer) skip(n int) { a.bytes = a.bytes[n:] }

func (a *aheadBuffer) read(p []byte) int {
	n := copy(p, a.bytes)
	a.skip(n)
	a.release()
	return n
}

// release returns an empty buffer to the pool, and moves a few bytes into a small one. A peer must not occupy a large
// buffer with a single byte while the connection waits for more.
func (a *aheadBuffer) release() {
	switch {
	case len(a.bytes) == 0:
		a.drop()
		a.bytes = nil
	case a.buf != nil && len(a.bytes) <= len(Small{}):
		small := GetSmall()
		bytes := small[:copy(small[:], a.bytes)]
		a.drop()
		a.small, a.bytes = small, bytes
	}
}

// drop returns the buffers to the pool.
func (a *aheadBuffer) drop() {
	a.buf.Put()
	a.small.Put()
	a.buf, a.small = nil, nil
}

func (a *aheadBuffer) unread(p []byte) {
	if len(p) > 0 {
		a.bytes = append(append(make([]byte, 0, len(p)+len(a.bytes)), p...), a.bytes...)
		a.drop()
	}
}

package poll

// SendBuffer holds what a socket did not take yet. The zero SendBuffer is empty. Append, then Flush once a batch.
type SendBuffer struct {
	buf  []byte
	sent int
}

// Append adds p to what is to be sent.
func (o *SendBuffer) Append(p ...byte) { o.buf = append(o.buf, p...) }

// Buffer returns the pending bytes' buffer for appending; give it back with SetBuffer.
func (o *SendBuffer) Buffer() []byte { return o.buf }

// SetBuffer replaces the buffer by a grown one.
func (o *SendBuffer) SetBuffer(b []byte) { o.buf = b }

// Len is the number of bytes that wait.
func (o *SendBuffer) Len() int { return len(o.buf) - o.sent }

// Flush writes what fits into fd; blocked says that something remains.
func (o *SendBuffer) Flush(fd int) (blocked bool, err error) {
	for o.sent < len(o.buf) {
		n, err := Write(fd, o.buf[o.sent:])
		if err != nil {
			return false, err
		}
		if n == 0 {
			return true, nil
		}
		o.sent += n
	}
	o.buf, o.sent = o.buf[:0], 0
	return false, nil
}

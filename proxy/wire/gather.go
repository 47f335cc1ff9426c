package wire

import "errors"

// Cork makes writes gather until Flush, or until a buffer is full.
func (c *Conn) Cork() {
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	c.out.corked = true
}

// Flush writes what was gathered since Cork and ends the gathering.
func (c *Conn) Flush() error {
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	c.out.corked = false
	return c.flush()
}

func (c *Conn) flush() error {
	if c.out.buf == nil {
		return nil
	}
	_, err := c.Conn.Write(c.out.buf[:c.out.n])
	buffers.Put(c.out.buf)
	c.out.buf, c.out.n = nil, 0
	return err
}

// Write writes b, or gathers it after Cork. An error of gathered bytes is reported by the Write or Flush that sends them.
func (c *Conn) Write(b []byte) (int, error) {
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	if !c.out.corked {
		return c.Conn.Write(b)
	}
	if c.out.n+len(b) > BufferBytes {
		if err := c.flush(); err != nil {
			return 0, err
		}
	}
	if len(b) > BufferBytes {
		return c.Conn.Write(b)
	}
	if c.out.buf == nil {
		c.out.buf = buffers.Get().(*[BufferBytes]byte)
	}
	c.out.n += copy(c.out.buf[c.out.n:], b)
	return len(b), nil
}

// CloseWrite ends the sending direction of the connection below, if it can, after what was gathered.
func (c *Conn) CloseWrite() error {
	err := c.Flush()
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return errors.Join(err, half.CloseWrite())
	}
	return err
}

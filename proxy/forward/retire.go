package forward

import "github.com/tulle-mesh/tulle/proxy/sock"

// Secured returns the open connections with TLS, accepted and dialled ones.
func (e *Engine) Secured() []*sock.Conn {
	e.mu.Lock()
	defer e.mu.Unlock()
	var out []*sock.Conn
	for c := range e.conns {
		if c.sock.Secure() {
			out = append(out, c.sock)
		}
	}
	return out
}

// Retire lets the connections of the set finish what they carry and take nothing new. Clients are sent elsewhere,
// as by Drain; the next request to an upstream dials. Connections that are not open, or retired already, stay as they
// are. A Handler must not call it.
func (e *Engine) Retire(conns map[*sock.Conn]struct{}) {
	e.each(conns, func(c *conn) {
		if !c.retired {
			c.retired = true
			c.proto.drain()
		}
	})
}

// Cut closes the connections of the set. What they carry fails with err. A Handler must not call it.
func (e *Engine) Cut(conns map[*sock.Conn]struct{}, err error) {
	e.each(conns, func(c *conn) { c.close(err) })
}

// each calls do, with the lock, for every open connection of the set.
func (e *Engine) each(conns map[*sock.Conn]struct{}, do func(*conn)) {
	if len(conns) == 0 {
		return
	}
	e.beginBatch()
	defer e.endBatch()
	for c := range e.conns {
		if _, ok := conns[c.sock]; ok {
			do(c)
		}
	}
}

package forward

import "github.com/tulle-mesh/tulle/proxy/sock"

// Secured returns the open connections with TLS, accepted ones and those that were made.
func (e *Engine) Secured() []*sock.Conn {
	e.turn.Lock()
	defer e.turn.Unlock()
	var out []*sock.Conn
	for l := range e.links {
		if l.sock.Secure() {
			out = append(out, l.sock)
		}
	}
	return out
}

// Retire lets the connections of the set finish what they carry and gives them nothing new: a client is told to go elsewhere, as by
// Drain, and the next request to an upstream makes another connection. One that is not open, or retired already, is left alone. It must
// not be called by a Handler.
func (e *Engine) Retire(conns map[*sock.Conn]struct{}) {
	e.each(conns, func(l *link) {
		if !l.retired {
			l.retired = true
			l.proto.drain()
		}
	})
}

// Cut closes the connections of the set; what they carry fails with err. It must not be called by a Handler.
func (e *Engine) Cut(conns map[*sock.Conn]struct{}, err error) {
	e.each(conns, func(l *link) { l.close(err) })
}

// each calls do, with the turn, for every open connection of the set.
func (e *Engine) each(conns map[*sock.Conn]struct{}, do func(*link)) {
	if len(conns) == 0 {
		return
	}
	e.begin()
	defer e.settle()
	for l := range e.links {
		if _, ok := conns[l.sock]; ok {
			do(l)
		}
	}
}

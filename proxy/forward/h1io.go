package forward

import "github.com/tulle-mesh/tulle/proxy/h1"

// h1Writer writes the body of one HTTP/1 message after the other, at both ends of an HTTP/1 connection.
type h1Writer struct {
	conn   *conn
	coding h1.Coding
	b      *body // that is being written
}

func (w *h1Writer) begin(b *body, c h1.Coding) { w.b, w.coding = b, c }

// room is how many body bytes may go out now. A tunnel takes none before it is open: a server that refuses it would
// read what the client sent by then as the next request.
func (w *h1Writer) room() int {
	if w.coding == h1.Tunnel && !w.b.fl.isTunnel {
		return 0
	}
	return w.conn.room()
}

// push implements writer.
func (w *h1Writer) push(b *body, p []byte) {
	if b != w.b || b.sentEnd {
		return
	}
	w.writeQueued()
	if w.b != b {
		return
	}
	if b.q.Size() == 0 && len(p) > 0 && w.room() > 0 {
		w.write(p)
		b.advance(len(p))
	} else {
		b.enqueue(p)
	}
	w.end()
}

// writeQueued writes what waits in the body's queue, as far as the connection has room.
func (w *h1Writer) writeQueued() {
	for b := w.b; b != nil && b.q.Size() > 0 && w.room() > 0; {
		p := b.q.Peek(w.room())
		w.write(p)
		b.dequeue(len(p))
		b.advance(len(p))
		b = w.b
	}
}

// hasRoom writes what waits, and then the end.
func (w *h1Writer) hasRoom() {
	w.writeQueued()
	w.end()
}

func (w *h1Writer) end() {
	b := w.b
	if b == nil || !b.ended || b.q.Size() > 0 || b.fl.wantsTunnel && !b.fl.isTunnel {
		return
	}
	w.b = nil
	switch w.coding {
	case h1.Chunked:
		w.conn.sendBuffer.Grew(h1.AppendLastChunk(w.conn.sendBuffer.Tail(256), b.trailers))
		w.conn.markDirty()
	case h1.Tunnel:
		if b.fl.isTunnel { // else the tunnel was refused, and the connection goes on
			w.conn.closeWrite()
		}
	}
	b.end()
}

func (w *h1Writer) write(p []byte) {
	out := &w.conn.sendBuffer
	switch w.coding {
	case h1.NoBody: // a response to HEAD, 204, 304: there is no place for what the server sent
		return
	case h1.Chunked:
		out.Grew(h1.AppendChunkSize(out.Tail(32), len(p)))
		out.Append(p)
		out.Append([]byte("\r\n"))
	default:
		out.Append(p)
	}
	w.conn.markDirty()
}

package forward

import (
	"errors"
	"io"

	"github.com/tulle-mesh/tulle/proxy/h1"
	"github.com/tulle-mesh/tulle/proxy/message"
)

// h1Reader reads the body of one HTTP/1 message after the other.
type h1Reader struct {
	kind   h1.Kind
	scan   h1.Scanner
	chunks h1.Chunks
	coding h1.Coding
	left   int64
}

func (r *h1Reader) begin(f h1.Framing) {
	r.coding, r.left, r.chunks = f.Coding, f.Length, h1.Chunks{Kind: r.kind}
}

// check reads a body as far as it came with its head, and stores nothing. It finds what is broken before anything of
// the message went on, while the exchange can still get another response.
func (r *h1Reader) check(f h1.Framing, in []byte, scratch *message.Head, max int) error {
	ahead := h1Reader{kind: r.kind}
	ahead.begin(f)
	for {
		scratch.Reset()
		_, used, last, err := ahead.next(in, scratch, max)
		if err != nil || last || used == 0 {
			return err
		}
		in = in[used:]
	}
}

// next reads body bytes from in. It returns the data for the body, how much of in it used, and whether the body is
// over. t takes the trailers.
func (r *h1Reader) next(in []byte, t *message.Head, max int) (data []byte, used int, last bool, err error) {
	switch r.coding {
	case h1.NoBody:
		return nil, 0, true, nil
	case h1.Length:
		n := int(min(r.left, int64(len(in))))
		r.left -= int64(n)
		return in[:n], n, r.left == 0, nil
	case h1.Chunked:
		data, used, trailers, err := r.chunks.Next(in)
		if err != nil || !trailers {
			return data, used, false, err
		}
		end, err := r.scan.Scan(in[used:], max)
		if errors.Is(err, h1.ErrHeadTooLarge) {
			err = errTrailersTooLarge
		}
		if err != nil || end == 0 {
			return nil, used, false, err
		}
		err = h1.ParseTrailers(in[used:used+end], t, r.kind)
		if err == nil && t.Size() > max {
			err = errTrailersTooLarge
		}
		return nil, used + end, true, err
	default:
		return in, len(in), false, nil
	}
}

// h1Writer writes the body of one HTTP/1 message after the other, at both ends of an HTTP/1 connection.
type h1Writer struct {
	conn   *conn
	coding h1.Coding
	f      *body // that is being written
	queued bool  // f.q holds bytes that wait for room
}

func (w *h1Writer) begin(b *body, c h1.Coding) { w.f, w.coding, w.queued = b, c, false }

// room is how many body bytes may go out now. A tunnel takes none before it is open: a server that refuses it would
// read what the client sent by then as the next request.
func (w *h1Writer) room() int {
	if w.coding == h1.Tunnel && !w.f.fl.open {
		return 0
	}
	return w.conn.room()
}

// push implements writer.
func (w *h1Writer) push(b *body, p []byte) {
	if b != w.f || b.sentEnd {
		return
	}
	w.drain()
	if w.f != b {
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

// drain writes what waits in the body's queue, as far as the connection has room.
func (w *h1Writer) drain() {
	for b := w.f; b != nil && b.q.Size() > 0 && w.room() > 0; {
		p := b.q.Peek(w.room())
		w.write(p)
		b.dequeue(len(p))
		b.advance(len(p))
		b = w.f
	}
}

// drained writes what waits, and then the end.
func (w *h1Writer) drained() {
	w.drain()
	w.end()
}

func (w *h1Writer) end() {
	b := w.f
	if b == nil || !b.ended || b.q.Size() > 0 || b.fl.tunnel && !b.fl.open {
		return
	}
	w.f = nil
	switch w.coding {
	case h1.Chunked:
		w.conn.sendBuffer.Grew(h1.AppendLastChunk(w.conn.sendBuffer.Tail(256), b.trailers))
		w.conn.markDirty()
	case h1.Tunnel:
		if b.fl.open { // else the tunnel was refused, and the connection goes on
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

// errTrailersTooLarge is h1.ErrHeadTooLarge for a trailer section.
var errTrailersTooLarge = &h1.Error{Class: h1.TooLarge, Reason: trailersTooLarge}

var errTruncated = io.ErrUnexpectedEOF

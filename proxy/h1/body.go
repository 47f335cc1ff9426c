package h1

import (
	"errors"

	"github.com/tulle-mesh/tulle/proxy/message"
)

// TrailersTooLarge is the reason of ErrTrailersTooLarge.
const TrailersTooLarge = "trailers_too_large"

// ErrTrailersTooLarge means that a trailer section is too large, as ErrHeadTooLarge does for a head.
var ErrTrailersTooLarge = &Error{Class: TooLarge, Reason: TrailersTooLarge}

// BodyReader reads the bodies of consecutive messages. The zero BodyReader reads requests.
type BodyReader struct {
	Kind   Kind
	Scan   Scanner // finds the ends of heads and of trailer sections
	Coding Coding  // of the current body
	Left   int64   // bytes of a body with a length that have not arrived
	chunks Chunks
}

// Begin starts a body with the framing of its head.
func (r *BodyReader) Begin(f Framing) {
	r.Coding, r.Left, r.chunks = f.Coding, f.Length, Chunks{Kind: r.Kind}
}

// Check validates the part of a body that arrived with its head, and stores nothing. It finds errors before the proxy
// forwards any of the message, while the client can still get an error response.
func (r *BodyReader) Check(f Framing, in []byte, scratch *message.Head, max int) error {
	ahead := BodyReader{Kind: r.Kind}
	ahead.Begin(f)
	for {
		scratch.Reset()
		_, used, last, err := ahead.Next(in, scratch, max)
		if err != nil || last || used == 0 {
			return err
		}
		in = in[used:]
	}
}

// Next reads body bytes from in. It returns the data of the body, the number of bytes of in that it used, and whether
// the body has ended. It stores the trailers, at most max bytes, in t.
func (r *BodyReader) Next(in []byte, t *message.Head, max int) (data []byte, used int, last bool, err error) {
	switch r.Coding {
	case NoBody:
		return nil, 0, true, nil
	case Length:
		n := int(min(r.Left, int64(len(in))))
		r.Left -= int64(n)
		return in[:n], n, r.Left == 0, nil
	case Chunked:
		data, used, trailers, err := r.chunks.Next(in)
		if err != nil || !trailers {
			return data, used, false, err
		}
		end, err := r.Scan.Scan(in[used:], max)
		if errors.Is(err, ErrHeadTooLarge) {
			err = ErrTrailersTooLarge
		}
		if err != nil || end == 0 {
			return nil, used, false, err
		}
		err = ParseTrailers(in[used:used+end], t, r.Kind)
		if err == nil && t.Size() > max {
			err = ErrTrailersTooLarge
		}
		return nil, used + end, true, err
	default:
		return in, len(in), false, nil
	}
}

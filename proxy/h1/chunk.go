package h1

import (
	"bytes"

	"github.com/tulle-mesh/tulle/proxy/message"
)

// maxChunkLine bounds a chunk's size line. Extensions are read and dropped, as RFC 9112 §7.1.1 allows. A long extension
// serves only to waste work.
const maxChunkLine = 256

// Chunks decodes the chunked coding, RFC 9112 §7.1. The zero Chunks is at the start of a request's body.
type Chunks struct {
	// Kind is the kind of message. In a response, spaces and tabs may follow a chunk's size, because old servers write
	// them.
	Kind  Kind
	left  int64 // of the chunk's data
	state chunkState
}

type chunkState uint8

const (
	chunkSize chunkState = iota
	chunkData
	chunkEnd
	chunkTrailers
)

// Next reads from in. It returns body bytes, which point into in, and the number of bytes of in that it used. trailers
// reports that the trailer section comes next: ParseTrailers reads it. Call Next again with the rest; used 0 means that
// it needs more bytes.
func (c *Chunks) Next(in []byte) (data []byte, used int, trailers bool, err error) {
	for {
		switch c.state {
		case chunkSize:
			n, err := c.size(in[used:])
			if n == 0 || err != nil {
				return nil, used, false, err
			}
			used += n
		case chunkData:
			n := int(min(c.left, int64(len(in)-used)))
			data = in[used : used+n]
			if c.left -= int64(n); c.left == 0 {
				c.state = chunkEnd
			}
			return data, used + n, false, nil
		case chunkEnd:
			rest := in[used:]
			if len(rest) > 0 && rest[0] != '\r' || len(rest) > 1 && rest[1] != '\n' {
				return nil, used, false, ErrChunkEnd
			}
			if len(rest) < 2 {
				return nil, used, false, nil
			}
			used += 2
			c.state = chunkSize
		case chunkTrailers:
			return nil, used, true, nil
		}
	}
}

// size reads a size line and returns the line's length, or 0 if the line is not complete.
func (c *Chunks) size(in []byte) (n int, err error) {
	end := bytes.IndexByte(in[:min(len(in), maxChunkLine)], '\n')
	if end < 0 {
		if len(in) >= maxChunkLine {
			return 0, ErrChunkExtension
		}
		return 0, nil
	}
	if end == 0 || in[end-1] != '\r' {
		return 0, ErrBareLF
	}
	line := in[:end-1]
	digits := 0
	var size int64
	for digits < len(line) {
		d := hexDigit(line[digits])
		if d < 0 {
			break
		}
		size = size<<4 | int64(d)
		digits++
	}
	if digits == 0 || digits > 15 {
		return 0, ErrChunkSize
	}
	rest := line[digits:]
	if c.Kind == Response {
		rest = bytes.TrimRight(rest, " \t")
	}
	if err := chunkExtension(rest); err != nil {
		return 0, err
	}
	c.left, c.state = size, chunkData
	if size == 0 {
		c.state = chunkTrailers
	}
	return end + 1, nil
}

// chunkExtension accepts *( BWS ";" …), RFC 9112 §7.1.1.
func chunkExtension(ext []byte) error {
	trimmed := bytes.TrimLeft(ext, " \t")
	switch {
	case len(ext) == 0:
		return nil
	case len(trimmed) == 0 || trimmed[0] != ';':
		return ErrChunkSize
	case !message.IsFieldValue(trimmed):
		return ErrChunkExtension
	}
	return nil
}

func hexDigit(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c|0x20 >= 'a' && c|0x20 <= 'f':
		return int(c|0x20-'a') + 10
	}
	return -1
}

// ParseTrailers reads a complete trailer section, as Scanner found it, into h, which must be empty. A field that
// frames, routes or authorizes a message is an error: a recipient that merges trailers into the head would read another
// message (RFC 9110 §6.5.1).
func ParseTrailers(section []byte, h *message.Head, k Kind) error {
	h.Store(section)
	if err := parseFields(h, 0, k); err != nil {
		return err
	}
	for name := range h.All() {
		if !message.AllowedTrailer(name) {
			return ErrTrailer
		}
	}
	return nil
}

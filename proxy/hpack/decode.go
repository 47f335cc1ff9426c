package hpack

import (
	"errors"
	"fmt"

	"github.com/tulle-mesh/tulle/proxy/message"
)

// ErrTooLarge means that a header list exceeds Limits.List. The tables are still in step, so the connection can
// continue.
var ErrTooLarge = errors.New("hpack: header list too large")

// ErrBomb means that a header list exceeds Limits.Read. The tables are out of step, so the connection must end.
var ErrBomb = errors.New("hpack: header list far too large")

// Errors that some other decoders accept: a table size after a field (RFC 7541 §4.2), and integers in more bytes than
// any acceptable value needs (§5.1 allows a bound).
var (
	errLateUpdate = fmt.Errorf("%w: table size after a field", ErrCompression)
	errInteger    = fmt.Errorf("%w: integer", ErrCompression)
)

// Sink receives the fields of a header list as the decoder finds them. The spans lie in the head that Decode fills.
type Sink interface {
	Field(name, value message.Span)
	// Wants reports whether the sink needs this field, if its value is short, of a list that is too large.
	Wants(name []byte) bool
}

// Limits bound a header list, counted as RFC 9113 §6.5.2 does.
type Limits struct {
	// List is the size of the largest list that is accepted.
	List int
	// Read is the size of the largest list that is decoded to its end: a field of 4 KiB in the table costs the peer one
	// byte.
	Read int
}

// shortValue is the length of the longest value that a Sink may still want.
const shortValue = 256

// Decoder decodes the header blocks of one direction of a connection, in order. Make one with NewDecoder.
type Decoder struct {
	table table
}

// NewDecoder returns a decoder whose table has the initial size, 4096 bytes, which is also its maximum.
func NewDecoder() *Decoder { return &Decoder{table: table{max: maxTable}} }

// Decode decodes a complete header block. It stores strings in h and calls to for each field. Beyond limits.List it
// calls to only for the fields that to wants, and returns ErrTooLarge. Beyond limits.Read it returns ErrBomb. Any other
// error is ErrCompression.
func (d *Decoder) Decode(block []byte, h *message.Head, limits Limits, to Sink) error {
	size, mayResize := 0, true
	for len(block) > 0 {
		if block[0]&0xe0 == 0x20 {
			rest, err := d.sizeUpdate(block, mayResize)
			if err != nil {
				return err
			}
			block = rest
			continue
		}
		mayResize = false
		mark := len(h.Arena())
		name, value, rest, err := d.field(block, h)
		if err != nil {
			return err
		}
		block = rest
		size += int(name.Len) + int(value.Len) + entryOverhead
		switch {
		case size > limits.Read:
			return ErrBomb
		case size > limits.List && (value.Len > shortValue || !to.Wants(h.Bytes(name))):
			h.SetArena(h.Arena()[:mark])
		default:
			to.Field(name, value)
		}
	}
	if size > limits.List {
		return ErrTooLarge
	}
	return nil
}

// sizeUpdate reads a table size update. It is allowed only at the beginning of a block, RFC 7541 §4.2.
func (d *Decoder) sizeUpdate(block []byte, allowed bool) (rest []byte, err error) {
	max, rest, ok := readInt(block, 5)
	switch {
	case !ok:
		return nil, errInteger
	case !allowed:
		return nil, errLateUpdate
	case max > maxTable:
		return nil, ErrCompression
	}
	d.table.resize(max)
	return rest, nil
}

// field decodes one representation, RFC 7541 §6.1 and §6.2.
func (d *Decoder) field(block []byte, h *message.Head) (name, value message.Span, rest []byte, err error) {
	first := block[0]
	prefix := 4 // without indexing, or never indexed
	switch {
	case first&0x80 != 0:
		i, rest, ok := readInt(block, 7)
		if !ok {
			return name, value, nil, errInteger
		}
		name, value, err = d.indexed(i, h)
		return name, value, rest, err
	case first&0xc0 == 0x40:
		prefix = 6
	}
	i, rest, ok := readInt(block, prefix)
	if !ok {
		return name, value, nil, errInteger
	}
	if i == 0 {
		name, rest, err = readString(rest, h)
	} else {
		name, err = d.indexedName(i, h)
	}
	if err != nil {
		return name, value, nil, err
	}
	value, rest, err = readString(rest, h)
	if err == nil && prefix == 6 {
		d.table.add(h.Bytes(name), h.Bytes(value))
	}
	return name, value, rest, err
}

func (d *Decoder) indexed(i int, h *message.Head) (name, value message.Span, err error) {
	switch {
	case i == 0:
		return name, value, ErrCompression
	case i < len(static):
		return h.StoreString(static[i].name), h.StoreString(static[i].value), nil
	case i-len(static) < d.table.count:
		e := d.table.at(i - len(static))
		return h.Store(d.table.nameOf(e)), h.Store(d.table.valueOf(e)), nil
	}
	return name, value, ErrCompression
}

func (d *Decoder) indexedName(i int, h *message.Head) (name message.Span, err error) {
	switch {
	case i < len(static):
		return h.StoreString(static[i].name), nil
	case i-len(static) < d.table.count:
		return h.Store(d.table.nameOf(d.table.at(i - len(static)))), nil
	}
	return name, ErrCompression
}

// maxInt bounds integers: every acceptable string, index and table size is far below it.
const maxInt = 1 << 24

// readInt decodes an integer with a prefix of n bits, RFC 7541 §5.1.
func readInt(p []byte, n int) (value int, rest []byte, ok bool) {
	if len(p) == 0 {
		return 0, nil, false
	}
	mask := 1<<n - 1
	value = int(p[0]) & mask
	if value < mask {
		return value, p[1:], true
	}
	for i, shift := 1, 0; i < len(p) && shift <= 28; i, shift = i+1, shift+7 {
		value += int(p[i]&0x7f) << shift
		if value > maxInt {
			return 0, nil, false
		}
		if p[i]&0x80 == 0 {
			return value, p[i+1:], true
		}
	}
	return 0, nil, false
}

// readString decodes a string literal, RFC 7541 §5.2, into h's arena.
func readString(p []byte, h *message.Head) (s message.Span, rest []byte, err error) {
	if len(p) == 0 {
		return s, nil, ErrCompression
	}
	n, rest, ok := readInt(p, 7)
	if !ok {
		return s, nil, errInteger
	}
	if n > len(rest) {
		return s, nil, ErrCompression
	}
	if p[0]&0x80 == 0 {
		return h.Store(rest[:n]), rest[n:], nil
	}
	off := len(h.Arena())
	arena, err := appendHuffman(h.Arena(), rest[:n])
	h.SetArena(arena)
	return message.Span{Off: uint32(off), Len: uint32(len(arena) - off)}, rest[n:], err
}

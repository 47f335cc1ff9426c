package h1

import (
	"bytes"

	"github.com/tulle-mesh/tulle/proxy/message"
)

// Scanner finds the end of a head or trailer section in bytes that arrive in pieces, and reads each byte once. The zero
// Scanner is ready to use; so is a Scanner that has returned an end.
type Scanner struct{ seen int }

// Scan returns the length of the section at the start of in, its empty line included, or 0 if it is not complete. in
// must begin with the same bytes until Scan has returned an end. The error is ErrBareLF, or ErrHeadTooLarge beyond max
// bytes.
func (s *Scanner) Scan(in []byte, max int) (end int, err error) {
	for {
		i := bytes.IndexByte(in[s.seen:], '\n')
		if i < 0 {
			s.seen = len(in)
			if len(in) > max {
				return 0, ErrHeadTooLarge
			}
			return 0, nil
		}
		i += s.seen
		if i == 0 || in[i-1] != '\r' {
			return 0, ErrBareLF
		}
		s.seen = i + 1
		if i+1 > max {
			return 0, ErrHeadTooLarge
		}
		if i == 1 || in[i-2] == '\n' {
			s.seen = 0
			return i + 1, nil
		}
	}
}

// Pending reports whether a section has begun and is not complete.
func (s *Scanner) Pending() bool { return s.seen > 0 }

// Kind selects the rules by which a message is read. A request is read strictly. A response is repaired where every
// client reads it in the same way: its request was already authorized, and the proxy forwards the canonical form.
type Kind uint8

// The kinds of message.
const (
	Request Kind = iota
	Response
)

// parseFields reads the field lines of a section, which lies in a head's arena from off to its end. It removes the
// space between a name and its colon from a response, RFC 9112 §5.1.
func parseFields(h *message.Head, off int, k Kind) error {
	block := h.Arena()
	for {
		line := block[off:]
		end := bytes.IndexByte(line, '\n') - 1 // Scan has checked that CRLF is there
		if end == 0 {
			return nil
		}
		line = line[:end]
		if line[0] == ' ' || line[0] == '\t' {
			return ErrObsFold
		}
		colon := bytes.IndexByte(line, ':')
		if colon <= 0 {
			return ErrFieldName
		}
		name := line[:colon]
		if k == Response {
			name = bytes.TrimRight(name, " \t")
		}
		if !message.IsToken(name) {
			if c := name[len(name)-1]; c == ' ' || c == '\t' {
				return ErrSpaceBeforeColon
			}
			return ErrFieldName
		}
		from, to := colon+1, len(line)
		for from < to && (line[from] == ' ' || line[from] == '\t') {
			from++
		}
		for from < to && (line[to-1] == ' ' || line[to-1] == '\t') {
			to--
		}
		if value := line[from:to]; !message.IsFieldValue(value) {
			return valueError(value)
		}
		h.Append(message.Span{Off: uint32(off), Len: uint32(len(name))},
			message.Span{Off: uint32(off + from), Len: uint32(to - from)})
		off += end + 2
	}
}

func valueError(value []byte) error {
	switch {
	case bytes.IndexByte(value, 0) >= 0:
		return ErrNUL
	case bytes.IndexByte(value, '\r') >= 0:
		return ErrBareCR
	default:
		return ErrFieldValue
	}
}

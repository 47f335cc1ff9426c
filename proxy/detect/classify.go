// Package detect tells the protocol of a connection from its first bytes.
//
// It owns the classification of a prefix, the reading of a ClientHello as far as ALPN and SNI, and a connection whose first bytes
// can be looked at without being consumed. It imports the standard library only, and it decides nothing about trust: whatever it
// answers, an identity comes from a finished handshake alone. The one idea: peek, never consume, so that a wrong guess costs nothing
// but speed.
package detect

import "bytes"

// Kind is what a connection's first bytes look like.
type Kind uint8

// The kinds of connection. The zero value, Undecided, means that more bytes are needed.
const (
	Undecided Kind = iota
	// HTTP1 begins with something that wants to be an HTTP/1 request line; whether it is a valid one is the codec's business, so
	// that a malformed request is answered instead of forwarded.
	HTTP1
	// HTTP2 begins with the whole client preface of RFC 9113 §3.4.
	HTTP2
	// TLS begins with a TLS handshake record; ParseClientHello says whose.
	TLS
	// Opaque is everything else.
	Opaque
)

func (k Kind) String() string {
	return [...]string{"undecided", "HTTP/1", "HTTP/2", "TLS", "opaque"}[k]
}

// Preface is what an HTTP/2 client sends first. Source: RFC 9113 §3.4.
const Preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

const (
	// maxMethod bounds the length of a method. The longest registered one, BASELINE-CONTROL, has 16 letters.
	maxMethod = 32
	// maxLine is how far a request line's end is looked for; a longer one that begins like a request is HTTP/1 for the codec to refuse.
	maxLine = 4 << 10
)

// Classify says what a connection that began with prefix is. It returns Undecided only for a prefix that more bytes could turn
// into something else than opaque; an empty prefix is Undecided.
func Classify(prefix []byte) Kind {
	if len(prefix) == 0 {
		return Undecided
	}
	if prefix[0] == recordHandshake {
		return classifyTLS(prefix)
	}
	n := min(len(prefix), len(Preface))
	if string(prefix[:n]) == Preface[:n] {
		if n == len(Preface) {
			return HTTP2
		}
		return Undecided
	}
	return classifyLine(prefix)
}

func classifyTLS(prefix []byte) Kind {
	switch {
	case len(prefix) == 1:
		return Undecided
	case prefix[1] == recordMajor:
		return TLS
	default:
		return Opaque
	}
}

// classifyLine looks for `method SP anything HTTP/digit` up to the end of the first line.
func classifyLine(prefix []byte) Kind {
	method := 0
	for method < len(prefix) && isToken(prefix[method]) {
		method++
	}
	switch {
	case method == 0 || method > maxMethod:
		return Opaque
	case method == len(prefix):
		return Undecided
	case prefix[method] != ' ':
		return Opaque
	}
	rest := prefix[method+1:]
	line, _, ended := bytes.Cut(rest, []byte{'\n'})
	switch {
	case bytes.Contains(line, []byte(" HTTP/")):
		return HTTP1
	case ended:
		return Opaque
	case bytes.IndexByte(line, 0) >= 0:
		return Opaque
	case len(prefix) >= maxLine:
		return HTTP1
	default:
		return Undecided
	}
}

// isToken reports whether c may be part of a method. Source: RFC 9110 §5.6.2 (tchar).
func isToken(c byte) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		return true
	default:
		return bytes.IndexByte([]byte("!#$%&'*+-.^_`|~"), c) >= 0
	}
}

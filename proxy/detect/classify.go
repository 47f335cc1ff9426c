// Package detect tells the protocol of a connection from its first bytes.
//
// It owns the classification of a prefix, the reading of a ClientHello as far as ALPN and SNI, and a connection whose
// first bytes can be looked at without being consumed. It imports the standard library only, and it decides nothing
// about trust: whatever it answers, an identity comes from a finished handshake alone. The one idea: peek, never
// consume, so that a wrong guess costs nothing but speed.
package detect

import (
	"bytes"
	"slices"
	"strings"
)

// Kind is what a connection's first bytes look like.
type Kind uint8

// The kinds of connection. The zero value, Undecided, means that more bytes are needed.
const (
	Undecided Kind = iota
	// HTTP1 begins with something that wants to be an HTTP/1 request line; whether it is a valid one is the codec's
	// business, so that a malformed request is answered instead of forwarded.
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

// prefaceWord is how much of the preface no request in HTTP/1 begins with.
const prefaceWord = "PRI "

// maxLine is how far the end of a request line is looked for. A longer line that begins like a request is HTTP/1: the
// codec refuses it. A single word as long as that is opaque: tools that measure throughput send such things. Many
// servers take any word for a method, so that a shorter bound of methods would let requests pass unseen.
const maxLine = 4 << 10

// Classify says what a connection that began with prefix is. It returns Undecided only for a prefix that more bytes
// could turn into something else than opaque; an empty prefix is Undecided. What it says of a prefix holds for whatever
// follows.
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

// classifyLine reads the beginning of a request line as generously as any server does: what a server may take for a
// request must not reach it as bytes that nobody decided on. Blank bytes before the line and between its words are
// skipped (RFC 9112 §2.2, §3), the version may be in lower case, and what asks for a path by a method that everybody
// knows needs no version (HTTP/0.9). A NUL in a line that asks for a path by a registered method proves no other
// protocol. The codec is strict, so that such requests are answered with 400.
func classifyLine(prefix []byte) Kind {
	prefix = prefix[:min(len(prefix), maxLine)]
	method, rest := cutMethod(prefix)
	switch {
	case len(method) == 0 && len(rest) > 0, len(method) == maxLine:
		return Opaque
	case len(rest) == 0 && len(prefix) < maxLine:
		return Undecided
	case len(rest) == 0:
		return HTTP1
	case !isBlank(rest[0]):
		return Opaque
	}
	line, _, ended := bytes.Cut(rest, []byte{'\n'})
	line, _, binary := bytes.Cut(line, []byte{0})
	if target := skipBlank(line); len(target) > 0 && target[0] < ' ' {
		return Opaque
	}
	switch {
	case asksForPath(line) && (binary && slices.Contains(methods, string(method)) ||
		slices.Contains(plainMethods, string(method))),
		hasVersion(line):
		return HTTP1
	case ended, binary:
		return Opaque
	case len(prefix) >= maxLine:
		return HTTP1
	default:
		return Undecided
	}
}

// Stalled says what an undecided prefix is when nothing follows in time. One that begins a request by a registered
// method, or by any word before a path, is HTTP: if it were opaque, the rest of the request would reach the application
// unseen.
func Stalled(prefix []byte) Kind {
	method, rest := cutMethod(prefix)
	began := false
	switch {
	case len(prefix) == 0 || prefix[0] == recordHandshake:
	case len(prefix) >= len(prefaceWord) && strings.HasPrefix(Preface, string(prefix)):
		return HTTP2
	case len(rest) > 0:
		began = slices.Contains(methods, string(method)) || asksForPath(rest)
	default:
		began = slices.ContainsFunc(methods, func(m string) bool { return strings.HasPrefix(m, string(method)) })
	}
	if began {
		return HTTP1
	}
	return Opaque
}

// methods are the registered methods. Source: IANA, Hypertext Transfer Protocol (HTTP) Method Registry.
var methods = strings.Fields(`ACL BASELINE-CONTROL BIND CHECKIN CHECKOUT CONNECT COPY DELETE GET HEAD LABEL LINK LOCK MERGE MKACTIVITY
	MKCALENDAR MKCOL MKREDIRECTREF MKWORKSPACE MOVE OPTIONS ORDERPATCH PATCH POST PRI PROPFIND PROPPATCH PUT QUERY REBIND REPORT SEARCH
	TRACE UNBIND UNCHECKOUT UNLINK UNLOCK UPDATE UPDATEREDIRECTREF VERSION-CONTROL`)

// plainMethods are those of RFC 9110 and RFC 5789 that ask for a path and that no other known protocol uses like that.
// OPTIONS is RTSP's, SIP's and ICAP's too.
var plainMethods = []string{"DELETE", "GET", "HEAD", "PATCH", "POST", "PUT", "TRACE"}

// cutMethod returns the first word of a prefix, without the blank bytes before it, and what follows it.
func cutMethod(prefix []byte) (method, rest []byte) {
	line := skipBlank(prefix)
	for len(line) > 0 && line[0] == '\n' {
		line = skipBlank(line[1:])
	}
	n := 0
	for n < len(line) && isToken(line[n]) {
		n++
	}
	return line[:n], line[n:]
}

// asksForPath reports whether the first word of a line is a path or the address of a page.
func asksForPath(line []byte) bool {
	target := skipBlank(line)
	return len(target) < len(line) && (bytes.HasPrefix(target, []byte("/")) || hasPrefixFold(target, "http://") || hasPrefixFold(target, "https://"))
}

// hasVersion reports whether a word of the line begins like HTTP/1. Servers that read the version with sscanf skip
// blanks and a sign before the digits.
func hasVersion(line []byte) bool {
	for i, c := range line {
		if !isBlank(c) || !hasPrefixFold(line[i+1:], "http/") {
			continue
		}
		if digits := bytes.TrimLeft(skipBlank(line[i+len(" http/"):]), "+"); len(digits) > 0 && '0' <= digits[0] &&
			digits[0] <= '9' {
			return true
		}
	}
	return false
}

func hasPrefixFold(s []byte, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(string(s[:len(prefix)]), prefix)
}

// blank are the bytes that may stand between the words of a request line: those of RFC 9112 §3, and what str.split of
// Python, whose http.server and its kin are lenient, takes for blank in Latin-1.
const blank = " \t\v\f\r\x1c\x1d\x1e\x1f\x85\xa0"

// skipBlank returns what follows the blank bytes at the beginning of a line.
func skipBlank(line []byte) []byte {
	for len(line) > 0 && isBlank(line[0]) {
		line = line[1:]
	}
	return line
}

func isBlank(c byte) bool { return strings.IndexByte(blank, c) >= 0 }

// isToken reports whether c may be part of a method. Source: RFC 9110 §5.6.2 (tchar).
func isToken(c byte) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		return true
	default:
		return strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
	}
}

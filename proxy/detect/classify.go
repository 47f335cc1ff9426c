// Package detect finds the protocol of a connection from its first bytes.
//
// It owns the classification of a prefix, the parsing of a ClientHello up to ALPN and SNI, and Conn, which lets a
// caller peek. It imports the standard library only. It decides nothing about trust: an identity comes only from a
// finished handshake. The one idea: peek and never consume, so that a wrong guess costs only speed.
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
	// HTTP1 begins like an HTTP/1 request line. The codec decides whether the line is valid, so that a malformed
	// request gets a response instead of being forwarded.
	HTTP1
	// HTTP2 begins with the whole client preface of RFC 9113 §3.4.
	HTTP2
	// TLS begins with a TLS handshake record. ParseClientHello reads it.
	TLS
	// Opaque is everything else.
	Opaque
)

func (k Kind) String() string {
	return [...]string{"undecided", "HTTP/1", "HTTP/2", "TLS", "opaque"}[k]
}

// Preface is what an HTTP/2 client sends first. Source: RFC 9113 §3.4.
const Preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// prefaceWord is the beginning of the preface. No HTTP/1 request begins with it.
const prefaceWord = "PRI "

// maxLine bounds the search for the end of a request line. A longer line that begins like a request is HTTP1, and the
// codec refuses it. A single word of that length is Opaque: tools that measure throughput send such data. Many servers
// accept any word as a method, so a lower bound on methods would let requests pass unseen.
const maxLine = 4 << 10

// Classify returns the kind of a connection that began with prefix. It returns Undecided only if more bytes could
// change the result; an empty prefix is Undecided. More bytes never change another result.
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

// classifyLine reads the beginning of a request line as leniently as any server does. Otherwise a server could receive
// a request about which the proxy decided nothing. It skips blanks before the line and between its words (RFC 9112
// §2.2, §3). It accepts a lower-case version. A request for a path with a plain method needs no version (HTTP/0.9). A
// NUL in a line that asks for a path by a registered method does not make the line Opaque. The codec is strict, so such
// requests get 400.
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

// ClassifyStalled returns the kind of an undecided prefix if nothing follows in time. A prefix that begins with a
// registered method, or with any word before a path, is HTTP1. If it were Opaque, the rest of the request would reach
// the application unseen.
func ClassifyStalled(prefix []byte) Kind {
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

// plainMethods are the methods of RFC 9110 and RFC 5789 that ask for a path and that no other known protocol uses in
// this way. OPTIONS is not one: RTSP, SIP and ICAP have it too.
var plainMethods = []string{"DELETE", "GET", "HEAD", "PATCH", "POST", "PUT", "TRACE"}

// cutMethod skips blanks, and returns the first word of a prefix and the bytes after it.
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

// asksForPath reports whether the first word of a line is a path or a URL.
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

// blank are the bytes that may separate the words of a request line. They are those of RFC 9112 §3, and those that
// Python's str.split treats as blank in Latin-1: Python's http.server uses it.
const blank = " \t\v\f\r\x1c\x1d\x1e\x1f\x85\xa0"

// skipBlank returns the line without the blanks at its beginning.
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

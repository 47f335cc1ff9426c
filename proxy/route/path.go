package route

import (
	"bytes"
	"unicode/utf8"
)

// canonical returns a path, without its query, in the form in which paths are compared: as most servers read it. Octets
// that need not be encoded are decoded, the hexadecimal digits of the others are upper-case, empty and dot segments are
// gone (RFC 3986 §6.2.2). What is sent on keeps its own form. %2F and %5C stay as they are: they are no separators; see
// Ambiguous. A path that is canonical already is returned itself.
func canonical(path []byte) []byte {
	if isCanonical(path) {
		return path
	}
	return resolve(decode(path))
}

// cut is bytes.Cut for one byte.
func cut(s []byte, sep byte) (before, after []byte, found bool) {
	if i := bytes.IndexByte(s, sep); i >= 0 {
		return s[:i], s[i+1:], true
	}
	return s, nil, false
}

func isCanonical(path []byte) bool {
	for i, c := range path {
		if c == '%' || c >= 0x80 {
			return false
		}
		if c == '/' && i+1 < len(path) && (path[i+1] == '/' || path[i+1] == '.' && isDots(segment(path[i+1:]))) {
			return false
		}
	}
	return true
}

func segment(path []byte) []byte {
	if i := bytes.IndexByte(path, '/'); i >= 0 {
		return path[:i]
	}
	return path
}

func isDots(s []byte) bool { return len(s) <= 2 && (string(s) == "." || string(s) == "..") }

const upperHex = "0123456789ABCDEF"

// decode returns a copy of path in which the octets that mean themselves are not encoded, and all others are.
func decode(path []byte) []byte {
	out := make([]byte, 0, len(path)+8)
	for i := 0; i < len(path); i++ {
		c := path[i]
		encoded := false
		if c == '%' {
			encoded = true // a stray one too
			if v, ok := octet(path[i+1:]); ok {
				c = v
				i += 2
			}
		}
		if c <= ' ' || c >= 0x7f || encoded && bytes.IndexByte(reserved, c) >= 0 {
			out = append(out, '%', upperHex[c>>4], upperHex[c&15])
			continue
		}
		out = append(out, c)
	}
	return out
}

// reserved octets mean something else when they are encoded.
var reserved = []byte(`/\%?#`)

// octet reads two hexadecimal digits.
func octet(s []byte) (c byte, ok bool) {
	if len(s) < 2 {
		return 0, false
	}
	hi, lo := digit(s[0]), digit(s[1])
	return hi<<4 | lo, hi < 16 && lo < 16
}

func digit(c byte) byte {
	switch {
	case c >= '0' && c <= '9':
		return c - '0'
	case c|0x20 >= 'a' && c|0x20 <= 'f':
		return c | 0x20 - 'a' + 10
	default:
		return 255
	}
}

// resolve removes dot segments and empty ones, in place. Source: RFC 3986 §5.2.4.
func resolve(path []byte) []byte {
	if len(path) == 0 || path[0] != '/' {
		return path
	}
	out := path[:0]
	last := false // whether the path ends with a slash
	for rest := path; len(rest) > 0; {
		s := segment(rest[1:])
		rest = rest[1+len(s):]
		switch {
		case len(s) == 0 || string(s) == ".":
			last = true
		case string(s) == "..":
			out = out[:max(bytes.LastIndexByte(out, '/'), 0)]
			last = true
		default:
			out = append(append(out, '/'), s...)
			last = false
		}
	}
	if last || len(out) == 0 {
		out = append(out, '/')
	}
	return out
}

// MaxPath is the longest path that guarding rules accept, as sent and in canonical form. There, an octet that is not
// ASCII takes three bytes. Source: RFC 9110 §4.1 recommends support for 8000 bytes.
const MaxPath = 8 << 10

// Ambiguous reports whether servers read a path in different ways; its query does not matter. The path has dot segments
// in any spelling, backslashes, encoded separators, control characters or broken encodings, or is not UTF-8 when it is
// decoded: over-long forms such as %C0%AF, which no client sends, are a slash to some servers (RFC 3629 §3, §10). Rules
// that guard something should refuse such requests. Source: CVE-2021-29492, CVE-2021-31920 and the like. The same holds
// for a path of more than MaxPath bytes: a regular expression takes milliseconds for it, and all requests wait.
func Ambiguous(path []byte) bool {
	path, _, _ = cut(path, '?')
	if len(path) > MaxPath {
		return true
	}
	start := 0   // of the segment, in what was decoded so far
	tripled := 0 // octets that the canonical form encodes
	plain := make([]byte, 0, 256)
	for i := 0; i < len(path); i++ {
		c := path[i]
		if c == '/' {
			if isAlias(plain[start:]) {
				return true
			}
			start = len(plain) + 1
		}
		if c == '%' {
			v, ok := octet(path[i+1:])
			if !ok || v == '/' || v == '%' {
				return true
			}
			c = v
			i += 2
		}
		if c == '\\' || c < ' ' || c == 0x7f {
			return true
		}
		if path[i] >= utf8.RuneSelf || path[i] == ' ' {
			tripled++
		}
		plain = append(plain, c)
	}
	if len(path)+2*tripled > MaxPath || !utf8.Valid(plain) {
		return true
	}
	return start <= len(plain) && isAlias(plain[start:])
}

// isAlias reports whether a segment is one of dots, also behind parameters that some servers cut off.
func isAlias(s []byte) bool {
	if i := bytes.IndexByte(s, ';'); i >= 0 {
		s = s[:i]
	}
	return isDots(s)
}

// withoutParameters returns a copy of the path in which each segment ends at its first semicolon.
func withoutParameters(path []byte) []byte {
	out := make([]byte, 0, len(path))
	cutting := false
	for _, c := range path {
		if c == '/' {
			cutting = false
		} else if c == ';' {
			cutting = true
		}
		if !cutting {
			out = append(out, c)
		}
	}
	return out
}

// withoutHost returns what follows the first segment of a path that begins with slashes; "/" if nothing does.
func withoutHost(path []byte) []byte {
	_, rest, ok := cut(bytes.TrimLeft(path, "/"), '/')
	if !ok {
		return []byte("/")
	}
	return append([]byte("/"), rest...)
}

package authz

import "bytes"

// canonicalPath returns the one spelling of a path that routes are compared with: a character that may stand for itself does, every
// other is percent-encoded in upper case. So two spellings that a server takes for one (RFC 3986 §6.2.2, and lenient servers' more)
// cannot lead to two routes. ok is false for a path that servers read differently: with dot segments, empty segments, a backslash, an
// encoded slash, backslash or zero, or a broken escape. The query stays as it is. changed says whether the result, which is appended to
// dst, differs from path. "*" and the empty path of CONNECT are canonical.
func canonicalPath(dst, path []byte) (out []byte, changed, ok bool) {
	if isPlain(path) {
		return path, false, true
	}
	end := bytes.IndexByte(path, '?')
	if end < 0 {
		end = len(path)
	}
	out = dst
	for i := 0; i < end; i++ {
		c := path[i]
		if c == '%' {
			hi, lo := -1, -1
			if i+2 < end {
				hi, lo = unhex(path[i+1]), unhex(path[i+2])
			}
			if hi < 0 || lo < 0 {
				return nil, false, false
			}
			if c = byte(hi<<4 | lo); c == '/' {
				return nil, false, false
			}
			i += 2
		}
		switch {
		case c == '\\', c == 0:
			return nil, false, false
		case c == '/' || isPathByte(c):
			out = append(out, c)
		default:
			out = append(out, '%', upperHex[c>>4], upperHex[c&15])
		}
	}
	if !bytes.HasPrefix(out, []byte("/")) || !plainSegments(out[1:]) {
		return nil, false, false
	}
	out = append(out, path[end:]...)
	return out, !bytes.Equal(out, path), true
}

// isPlain reports whether a path is canonical for certain: nearly all are.
func isPlain(path []byte) bool {
	if len(path) == 0 || len(path) == 1 && path[0] == '*' {
		return true
	}
	before := byte(0)
	for i, c := range path {
		switch {
		case c == '?':
			return i > 0
		case i == 0 && c != '/', before == '/' && (c == '/' || c == '.'), c != '/' && !isPathByte(c):
			return false
		}
		before = c
	}
	return true
}

// plainSegments reports whether a decoded path without its first slash has no empty segment but the last, and no dot segment. A
// segment's parameters, which some servers cut off before they look (/..;x/), do not hide it.
func plainSegments(path []byte) bool {
	for {
		segment, rest, more := bytes.Cut(path, []byte("/"))
		name, _, _ := bytes.Cut(segment, []byte(";"))
		if len(segment) == 0 && more || string(name) == "." || string(name) == ".." {
			return false
		}
		if !more {
			return true
		}
		path = rest
	}
}

// isPathByte reports whether c may stand for itself within a segment. Source: RFC 3986 §3.3 pchar.
func isPathByte(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || bytes.IndexByte([]byte("-._~!$&'()*+,;=:@"), c) >= 0
}

const upperHex = "0123456789ABCDEF"

func unhex(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	default:
		return -1
	}
}

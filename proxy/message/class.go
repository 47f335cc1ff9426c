package message

import "strings"

// Classes of bytes. All codecs use the same classes, so that one version of HTTP can carry what another accepts.
const (
	tokenByte  = 1 << iota // RFC 9110 §5.6.2 tchar
	lowerByte              // tchar without upper-case letters, RFC 9113 §8.2.1
	valueByte              // RFC 9110 §5.5 field-vchar, SP, HTAB, obs-text
	targetByte             // visible, without fragment (RFC 3986 §4), and bytes above ASCII, which applications send
	hostByte               // RFC 3986 §3.2.2 with port, without userinfo
)

var class = classTable()

func classTable() (t [256]uint8) {
	for c := range 256 {
		b := byte(c)
		if c == '\t' || c >= ' ' && c != 0x7f {
			t[c] |= valueByte
		}
		if c > ' ' && c != 0x7f && c != '#' {
			t[c] |= targetByte
		}
		upper := b >= 'A' && b <= 'Z'
		alnum := upper || b >= 'a' && b <= 'z' || b >= '0' && b <= '9'
		if alnum || c < 128 && strings.IndexByte("!#$%&'*+-.^_`|~", b) >= 0 {
			t[c] |= tokenByte
			if !upper {
				t[c] |= lowerByte
			}
		}
		if alnum || c < 128 && strings.IndexByte("-._~%!$&'()*+,;=:[]", b) >= 0 {
			t[c] |= hostByte
		}
	}
	return t
}

func all(p []byte, want uint8) bool {
	for _, c := range p {
		if class[c]&want == 0 {
			return false
		}
	}
	return true
}

// IsToken reports whether all bytes of p are token characters. It is true for an empty p.
func IsToken(p []byte) bool { return all(p, tokenByte) }

// IsLowerToken reports the same as IsToken, but allows no upper-case letters.
func IsLowerToken(p []byte) bool { return all(p, lowerByte) }

// IsFieldValue reports whether p may be a field value: the only control character allowed is tab.
func IsFieldValue(p []byte) bool { return all(p, valueByte) }

// IsTarget reports whether p may be a path with a query.
func IsTarget(p []byte) bool { return all(p, targetByte) }

// IsHost reports whether p may be a host with a port.
func IsHost(p []byte) bool { return all(p, hostByte) }

// ParseLength reads the value of Content-Length: digits only, below 10^18.
func ParseLength(value []byte) (n int64, ok bool) {
	if len(value) == 0 || len(value) > 18 {
		return 0, false
	}
	for _, c := range value {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, true
}

// EqualFoldBytes reports whether a and b are equal if ASCII case is ignored.
func EqualFoldBytes(a, b []byte) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if lower(a[i]) != lower(b[i]) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c | 0x20
	}
	return c
}

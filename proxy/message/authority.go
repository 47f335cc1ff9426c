package message

import "bytes"

// SameAuthority reports whether two authorities of a scheme are equal. The case of hosts does not matter. An empty port
// and the scheme's default port are ignored. A scheme without a default port, or no scheme, has no default to ignore.
// Source: RFC 3986 §6.2.2.1 and §6.2.3, RFC 9110 §4.2.3.
func SameAuthority(scheme, a, b []byte) bool {
	return EqualFoldBytes(a, b) || EqualFoldBytes(withoutDefaultPort(scheme, a), withoutDefaultPort(scheme, b))
}

// withoutDefaultPort removes a port that the scheme implies.
func withoutDefaultPort(scheme, authority []byte) []byte {
	i := bytes.LastIndexByte(authority, ':')
	if i < 0 {
		return authority
	}
	host, port := authority[:i], authority[i+1:]
	if bytes.IndexByte(host, ':') >= 0 && (host[0] != '[' || host[len(host)-1] != ']') {
		return authority // the colon belongs to an IPv6 address, whose port follows brackets (RFC 3986 §3.2.2)
	}
	if len(port) == 0 || string(port) == defaultPort(scheme) {
		return host
	}
	return authority
}

func defaultPort(scheme []byte) string {
	switch {
	case EqualFold(scheme, "http"):
		return "80"
	case EqualFold(scheme, "https"):
		return "443"
	}
	return ""
}

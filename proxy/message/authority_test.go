package message

import "testing"

func TestSameAuthority(t *testing.T) {
	for name, c := range map[string]struct {
		scheme, a, b string
		want         bool
	}{
		"equal":                                    {"http", "u", "u", true},
		"hosts in another case":                    {"http", "U.Example", "u.eXAMPLE", true},
		"default port of http, RFC 9110 §4.2.3":    {"http", "u:80", "u", true},
		"the same the other way round":             {"http", "u", "u:80", true},
		"default port of https":                    {"https", "u:443", "u", true},
		"scheme in another case":                   {"HTTPS", "u:443", "u", true},
		"an empty port, RFC 3986 §6.2.3":           {"http", "u:", "u", true},
		"an empty port and the default":            {"http", "u:", "u:80", true},
		"an empty port of an unknown scheme":       {"x", "u:", "u", true},
		"another port in both":                     {"http", "u:8080", "U:8080", true},
		"default port of an IPv6 address":          {"http", "[::1]:80", "[::1]", true},
		"case and default port at once":            {"http", "A:80", "a", true},
		"another host":                             {"http", "u", "v", false},
		"another host with the default port":       {"http", "u:80", "v", false},
		"a host that begins with the other":        {"http", "u.v:80", "u", false},
		"another port":                             {"http", "u:8080", "u", false},
		"two ports that differ":                    {"http", "u:80", "u:81", false},
		"default port of the other scheme":         {"https", "u:80", "u", false},
		"default port without a scheme (CONNECT)":  {"", "u:443", "u", false},
		"default port of an unknown scheme":        {"ws", "u:80", "u", false},
		"a number that only looks like the port":   {"http", "u:080", "u", false},
		"an IPv6 address that ends like a port":    {"http", "fd00::80", "fd00:", false},
		"an IPv6 address in brackets without port": {"http", "[fd00::80]", "[fd00:]", false},
		"one that is empty":                        {"http", "", "u", false},
		"a port without host":                      {"http", ":80", "", true},
	} {
		t.Run(name, func(t *testing.T) {
			if got := SameAuthority([]byte(c.scheme), []byte(c.a), []byte(c.b)); got != c.want {
				t.Errorf("%q: %q and %q: got %v, want %v", c.scheme, c.a, c.b, got, c.want)
			}
		})
	}
}

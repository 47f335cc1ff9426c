package h1

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httputil"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tulle-mesh/tulle/internal/alloctest"
	"github.com/tulle-mesh/tulle/proxy/message"
)

func parse(t testing.TB, in string) (*message.Head, Framing, error) {
	t.Helper()
	var s Scanner
	end, err := s.Scan([]byte(in), 64<<10)
	if err != nil {
		return nil, Framing{}, err
	}
	if end != len(in) {
		t.Fatalf("the head ends at %d of %d", end, len(in))
	}
	h := &message.Head{}
	f, err := ParseRequest([]byte(in), h)
	return h, f, err
}

// The reject list: inputs that two parsers could read in two ways. error.go has the rule of each error.
func TestRequestsAreRefused(t *testing.T) {
	const host = "Host: a\r\n"
	for name, c := range map[string]struct {
		in   string
		want *Error
	}{
		"Transfer-Encoding and Content-Length": {"POST / HTTP/1.1\r\n" + host +
			"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", ErrTEAndCL},
		"Transfer-Encoding in HTTP/1.0": {"POST / HTTP/1.0\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n",
			ErrTEInHTTP10},
		"two Transfer-Encoding fields": {"POST / HTTP/1.1\r\n" + host +
			"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", ErrTransferCoding},
		"another coding before chunked": {"POST / HTTP/1.1\r\n" + host +
			"Transfer-Encoding: gzip, chunked\r\n\r\n", ErrTransferCoding},
		"identity": {"POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: identity\r\n\r\n",
			ErrTransferCoding},
		"a coding with a vertical tab": {"POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: \x0bchunked\r\n\r\n",
			ErrFieldValue},
		"two Content-Length that differ": {"POST / HTTP/1.1\r\n" + host +
			"Content-Length: 3\r\nContent-Length: 4\r\n\r\n", ErrContentLength},
		"a list of lengths": {"POST / HTTP/1.1\r\n" + host + "Content-Length: 3, 3\r\n\r\n",
			ErrContentLength},
		"a signed length": {"POST / HTTP/1.1\r\n" + host + "Content-Length: +3\r\n\r\n",
			ErrContentLength},
		"a negative length": {"POST / HTTP/1.1\r\n" + host + "Content-Length: -3\r\n\r\n",
			ErrContentLength},
		"an empty length": {"POST / HTTP/1.1\r\n" + host + "Content-Length:\r\n\r\n",
			ErrContentLength},
		"a length that overflows": {"POST / HTTP/1.1\r\n" + host +
			"Content-Length: 18446744073709551617\r\n\r\n", ErrContentLength},
		"a hexadecimal length": {"POST / HTTP/1.1\r\n" + host + "Content-Length: 0x3\r\n\r\n",
			ErrContentLength},
		"obs-fold":                       {"GET / HTTP/1.1\r\n" + host + "A: b\r\n c\r\n\r\n", ErrObsFold},
		"a folded first field":           {"GET / HTTP/1.1\r\n Host: a\r\n\r\n", ErrObsFold},
		"bare LF after a field":          {"GET / HTTP/1.1\r\nHost: a\n\r\n", ErrBareLF},
		"bare LF after the request line": {"GET / HTTP/1.1\nHost: a\r\n\r\n", ErrBareLF},
		"bare CR in a value":             {"GET / HTTP/1.1\r\n" + host + "A: b\rc\r\n\r\n", ErrBareCR},
		"bare CR in the request line":    {"GET /\r HTTP/1.1\r\n" + host + "\r\n", ErrBareCR},
		"NUL in a value":                 {"GET / HTTP/1.1\r\n" + host + "A: b\x00c\r\n\r\n", ErrNUL},
		"NUL in the target":              {"GET /\x00 HTTP/1.1\r\n" + host + "\r\n", ErrNUL},
		"a control character in a value": {"GET / HTTP/1.1\r\n" + host + "A: \x01\r\n\r\n", ErrFieldValue},
		"space before the colon": {"GET / HTTP/1.1\r\n" + host + "Content-Length : 3\r\n\r\n",
			ErrSpaceBeforeColon},
		"tab before the colon":                    {"GET / HTTP/1.1\r\n" + host + "A\t: 3\r\n\r\n", ErrSpaceBeforeColon},
		"a field without a name":                  {"GET / HTTP/1.1\r\n" + host + ": b\r\n\r\n", ErrFieldName},
		"a field without a colon":                 {"GET / HTTP/1.1\r\n" + host + "abc\r\n\r\n", ErrFieldName},
		"a field name with a space":               {"GET / HTTP/1.1\r\n" + host + "a b: c\r\n\r\n", ErrFieldName},
		"no Host":                                 {"GET / HTTP/1.1\r\nA: b\r\n\r\n", ErrNoHost},
		"two Host fields":                         {"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", ErrDuplicateHost},
		"two Host fields in two cases":            {"GET / HTTP/1.1\r\nHost: a\r\nhOST: b\r\n\r\n", ErrDuplicateHost},
		"a Host with userinfo":                    {"GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", ErrHost},
		"a Host with a path":                      {"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", ErrHost},
		"a Host with a space":                     {"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", ErrHost},
		"an absolute target without Host":         {"GET http://b/ HTTP/1.1\r\n\r\n", ErrNoHost},
		"an absolute target and two Hosts":        {"GET http://b/ HTTP/1.1\r\nHost: b\r\nHost: a\r\n\r\n", ErrDuplicateHost},
		"an absolute target and a broken Host":    {"GET http://b/ HTTP/1.1\r\nHost: b/c\r\n\r\n", ErrHost},
		"an absolute target and userinfo in Host": {"GET http://b/ HTTP/1.1\r\nHost: u@b\r\n\r\n", ErrHost},
		"CONNECT without Host":                    {"CONNECT b:443 HTTP/1.1\r\n\r\n", ErrNoHost},
		"CONNECT with two Hosts": {"CONNECT b:443 HTTP/1.1\r\nHost: b\r\nHost: a\r\n\r\n",
			ErrDuplicateHost},
		"CONNECT with userinfo":            {"CONNECT u@b:443 HTTP/1.1\r\n" + host + "\r\n", ErrTarget},
		"CONNECT with a path":              {"CONNECT b:443/x HTTP/1.1\r\n" + host + "\r\n", ErrTarget},
		"a fragment":                       {"GET /#a HTTP/1.1\r\n" + host + "\r\n", ErrTarget},
		"a relative target":                {"GET a HTTP/1.1\r\n" + host + "\r\n", ErrTarget},
		"an absolute target with userinfo": {"GET http://u@a/ HTTP/1.1\r\n" + host + "\r\n", ErrTarget},
		"an absolute target without host":  {"GET http:///x HTTP/1.1\r\n" + host + "\r\n", ErrTarget},
		"another scheme":                   {"GET ftp://a/ HTTP/1.1\r\n" + host + "\r\n", ErrTarget},
		"* for another method":             {"GET * HTTP/1.1\r\n" + host + "\r\n", ErrTarget},
		"CONNECT without a port":           {"CONNECT a HTTP/1.1\r\n" + host + "\r\n", ErrTarget},
		"two spaces in the request line":   {"GET  / HTTP/1.1\r\n" + host + "\r\n", ErrTarget},
		"a space at its start":             {" GET / HTTP/1.1\r\n" + host + "\r\n", ErrStartLine},
		"a tab in it":                      {"GET\t/ HTTP/1.1\r\n" + host + "\r\n", ErrStartLine},
		"no version":                       {"GET /\r\n" + host + "\r\n", ErrStartLine},
		"HTTP/2.0":                         {"GET / HTTP/2.0\r\n" + host + "\r\n", ErrVersion},
		"HTTP/1.2":                         {"GET / HTTP/1.2\r\n" + host + "\r\n", ErrVersion},
		"a lower-case version":             {"GET / http/1.1\r\n" + host + "\r\n", ErrVersion},
		"a method that is not a token":     {"G@T / HTTP/1.1\r\n" + host + "\r\n", ErrMethod},
		"an unknown expectation":           {"GET / HTTP/1.1\r\n" + host + "Expect: tea\r\n\r\n", ErrExpectation},
		"more Connection options than anyone needs": {"GET / HTTP/1.1\r\n" + host + "Connection: " +
			strings.Repeat("a,", 33) + "\r\n\r\n", ErrFieldValue},
		"more Connection fields than anyone needs": {"GET / HTTP/1.1\r\n" + host + strings.Repeat("Connection: a\r\n", 5) +
			"\r\n", ErrFieldValue},
	} {
		t.Run(name, func(t *testing.T) {
			if _, _, err := parse(t, c.in); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}

func TestRequestsAreRead(t *testing.T) {
	const host = "Host: a\r\n"
	for name, c := range map[string]struct {
		in     string
		want   Framing
		fields string // the fields that remain
	}{
		"no body": {"GET / HTTP/1.1\r\n" + host + "\r\n", Framing{}, ""},
		"a length": {"POST / HTTP/1.1\r\n" + host + "Content-Length: 3\r\n\r\n",
			Framing{Coding: Length, Length: 3}, "Content-Length: 3\n"},
		"two equal lengths become one": {"POST / HTTP/1.1\r\n" + host +
			"Content-Length: 3\r\nContent-Length: 3\r\n\r\n", Framing{Coding: Length, Length: 3}, "Content-Length: 3\n"},
		"chunked": {"POST / HTTP/1.1\r\n" + host + "transfer-encoding: Chunked\r\n\r\n",
			Framing{Coding: Chunked}, ""},
		"close": {"GET / HTTP/1.1\r\n" + host + "Connection: x, close\r\nX: 1\r\n\r\n",
			Framing{Close: true}, ""},
		"HTTP/1.0 closes": {"GET / HTTP/1.0\r\n\r\n", Framing{Close: true}, ""},
		"HTTP/1.0 may keep alive": {"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\nKeep-Alive: 3\r\n\r\n",
			Framing{}, ""},
		"an expectation": {"POST / HTTP/1.1\r\n" + host +
			"Expect: 100-Continue\r\nContent-Length: 1\r\n\r\n", Framing{Coding: Length, Length: 1, Expect: true},
			"Expect: 100-Continue\nContent-Length: 1\n"},
		"an upgrade": {"GET / HTTP/1.1\r\n" + host +
			"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n", Framing{Coding: Tunnel}, ""},
		"an upgrade that nobody nominated": {"GET / HTTP/1.1\r\n" + host + "Upgrade: websocket\r\n\r\n", Framing{}, ""},
		"h2c is not upgraded to": {"GET / HTTP/1.1\r\n" + host +
			"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\n\r\n", Framing{}, ""},
		"CONNECT": {"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", Framing{Coding: Tunnel},
			""},
		"nominated fields go": {"GET / HTTP/1.1\r\n" + host +
			"Connection: X-Hop\r\nx-hop: 1\r\nX-End: 2\r\n\r\n", Framing{}, "X-End: 2\n"},
		"what authorizes cannot be nominated": {"GET / HTTP/1.1\r\n" + host +
			"Connection: Authorization\r\nAuthorization: x\r\n\r\n", Framing{}, "Authorization: x\n"},
		"TE keeps trailers only": {"GET / HTTP/1.1\r\n" + host + "TE: gzip, trailers\r\nConnection: TE\r\n\r\n",
			Framing{}, "te: trailers\n"},
		"space around a value goes": {"GET / HTTP/1.1\r\n" + host + "A: \t b c \t\r\n\r\n", Framing{}, "A: b c\n"},
		"the order and case of fields is kept": {"GET / HTTP/1.1\r\nB: 1\r\n" + host + "a: 2\r\nB: 3\r\n\r\n", Framing{},
			"B: 1\na: 2\nB: 3\n"},
		"nor is a list with h2c": {"GET / HTTP/1.1\r\n" + host +
			"Connection: Upgrade\r\nUpgrade: websocket, H2C\r\n\r\n", Framing{}, ""},
		"nor HTTP by its name": {"GET / HTTP/1.1\r\n" + host +
			"Connection: Upgrade\r\nUpgrade: HTTP/2.0\r\n\r\n", Framing{}, ""},
		"nor TLS": {"GET / HTTP/1.1\r\n" + host +
			"Connection: Upgrade\r\nUpgrade: TLS/1.0\r\n\r\n", Framing{}, ""},
		"a length with leading zeros": {"POST / HTTP/1.1\r\n" + host + "Content-Length: 002\r\n\r\n",
			Framing{Coding: Length, Length: 2}, "Content-Length: 2\n"},
		"a length of zeros": {"POST / HTTP/1.1\r\n" + host + "Content-Length: 00\r\n\r\n", Framing{},
			"Content-Length: 0\n"},
		"equal lengths in two spellings": {"POST / HTTP/1.1\r\n" + host +
			"Content-Length: 02\r\nContent-Length: 2\r\n\r\n", Framing{Coding: Length, Length: 2}, "Content-Length: 2\n"},
		"a body and an upgrade": {"POST / HTTP/1.1\r\n" + host +
			"Connection: upgrade\r\nUpgrade: x\r\nContent-Length: 1\r\n\r\n", Framing{Coding: Length, Length: 1},
			"Content-Length: 1\n"},
	} {
		t.Run(name, func(t *testing.T) {
			h, got, err := parse(t, c.in)
			if err != nil {
				t.Fatal(err)
			}
			var fields strings.Builder
			for n, v := range h.All() {
				fields.WriteString(string(n) + ": " + string(v) + "\n")
			}
			if diff := cmp.Diff(c.want, got); diff != "" || fields.String() != c.fields {
				t.Errorf("framing %s\nfields %q, want %q", diff, fields.String(), c.fields)
			}
		})
	}
}

func TestTargetForms(t *testing.T) {
	for in, want := range map[string][3]string{
		"GET /a?b HTTP/1.1\r\nHost: h:1\r\n\r\n":           {"http", "h:1", "/a?b"},
		"GET http://h/a HTTP/1.1\r\nHost: h\r\n\r\n":       {"http", "h", "/a"},
		"GET HTTP://H?q HTTP/1.1\r\nHost: h\r\n\r\n":       {"HTTP", "H", "/?q"},
		"GET https://h HTTP/1.1\r\nHost: h\r\n\r\n":        {"https", "h", "/"},
		"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n":            {"http", "h", "*"},
		"CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n":    {"", "h:443", ""},
		"GET /\xc3\xa9 HTTP/1.1\r\nHost: [::1]:80\r\n\r\n": {"http", "[::1]:80", "/\xc3\xa9"},
	} {
		h, _, err := parse(t, in)
		if err != nil {
			t.Errorf("%q: %v", in, err)
			continue
		}
		if got := [3]string{string(h.Part(message.Scheme)), string(h.Authority()), string(h.Path())}; got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

// RFC 9112 §3.2.2: a recipient of a target with an authority ignores Host, and replaces it when it forwards. Clients of
// forward proxies omit the port in one of the two (JDK 17, https-proxy-agent 5) or name another host (curl -x P -H
// 'Host: other').
func TestTargetDecidesOverHost(t *testing.T) {
	for name, c := range map[string]struct{ in, authority, line string }{
		"CONNECT, Host without port": {"CONNECT u:443 HTTP/1.1\r\nHost: u\r\n\r\n", "u:443", "CONNECT u:443 HTTP/1.1"},
		"CONNECT, the same Host": {"CONNECT u:443 HTTP/1.1\r\nHost: u:443\r\n\r\n", "u:443",
			"CONNECT u:443 HTTP/1.1"},
		"CONNECT, another Host": {"CONNECT u:443 HTTP/1.1\r\nHost: other:1\r\n\r\n", "u:443",
			"CONNECT u:443 HTTP/1.1"},
		"CONNECT, empty Host": {"CONNECT u:443 HTTP/1.1\r\nHost:\r\n\r\n", "u:443", "CONNECT u:443 HTTP/1.1"},
		"CONNECT to an IPv6 address": {"CONNECT [::1]:443 HTTP/1.1\r\nHost: [::1]\r\n\r\n", "[::1]:443",
			"CONNECT [::1]:443 HTTP/1.1"},
		"CONNECT of HTTP/1.0 without Host": {"CONNECT u:443 HTTP/1.0\r\n\r\n", "u:443", "CONNECT u:443 HTTP/1.0"},
		"absolute, Host without port":      {"GET http://u:80/ HTTP/1.1\r\nHost: u\r\n\r\n", "u:80", "GET http://u:80/ HTTP/1.1"},
		"absolute, Host with port":         {"GET http://u/ HTTP/1.1\r\nHost: u:80\r\n\r\n", "u", "GET http://u/ HTTP/1.1"},
		"absolute, another port":           {"GET http://u:8080/ HTTP/1.1\r\nHost: u:80\r\n\r\n", "u:8080", "GET http://u:8080/ HTTP/1.1"},
		"absolute, another Host":           {"GET http://u/x HTTP/1.1\r\nHost: other\r\n\r\n", "u", "GET http://u/x HTTP/1.1"},
		"absolute, empty Host":             {"GET http://u/ HTTP/1.1\r\nHost: \r\n\r\n", "u", "GET http://u/ HTTP/1.1"},
		"absolute, https":                  {"GET https://u/ HTTP/1.1\r\nHost: u:443\r\n\r\n", "u", "GET https://u/ HTTP/1.1"},
		"absolute without a path":          {"GET http://u?q HTTP/1.1\r\nHost: other\r\n\r\n", "u", "GET http://u/?q HTTP/1.1"},
		"absolute of HTTP/1.0":             {"GET http://u/ HTTP/1.0\r\nHost: other\r\n\r\n", "u", "GET http://u/ HTTP/1.0"},
		"absolute in another case":         {"GET http://U/ HTTP/1.1\r\nHost: u\r\n\r\n", "U", "GET http://U/ HTTP/1.1"},
	} {
		t.Run(name, func(t *testing.T) {
			h, f, err := parse(t, c.in)
			if err != nil {
				t.Fatal(err)
			}
			line, rest, _ := strings.Cut(string(AppendRequest(nil, h, f)), "\r\n")
			host, _, _ := strings.Cut(rest, "\r\n")
			if got := string(h.Authority()); got != c.authority || line != c.line || host != "Host: "+c.authority ||
				strings.Count(rest, "ost:") != 1 {
				t.Errorf("authority %q, written %q %q; want %q, %q", got, line, rest, c.authority, c.line)
			}
		})
	}
}

func TestScannerSeesEveryByteOnce(t *testing.T) {
	in := "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET"
	var s Scanner
	for i := range in {
		end, err := s.Scan([]byte(in[:i+1]), 100)
		if err != nil {
			t.Fatal(err)
		}
		if end > 0 {
			if end != len(in)-3 || s.Pending() {
				t.Errorf("the head ends at %d, want %d", end, len(in)-3)
			}
			return
		}
	}
	t.Error("the end was not found")
}

func TestScannerBoundsTheHead(t *testing.T) {
	var s Scanner
	if _, err := s.Scan(bytes.Repeat([]byte("a"), 101), 100); !errors.Is(err, ErrHeadTooLarge) {
		t.Errorf("got %v", err)
	}
	s = Scanner{}
	if _, err := s.Scan([]byte(strings.Repeat("a: b\r\n", 20)+"\r\n"), 100); !errors.Is(err, ErrHeadTooLarge) {
		t.Errorf("got %v", err)
	}
}

func TestResponses(t *testing.T) {
	for name, c := range map[string]struct {
		in, method string
		want       Framing
		err        error
	}{
		"length": {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", "GET",
			Framing{Coding: Length, Length: 2}, nil},
		"chunked": {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "GET",
			Framing{Coding: Chunked}, nil},
		"until close":      {"HTTP/1.1 200 OK\r\n\r\n", "GET", Framing{Coding: UntilClose, Close: true}, nil},
		"HEAD has no body": {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", "HEAD", Framing{}, nil},
		"204 has no body":  {"HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\n", "GET", Framing{}, nil},
		"304 has no body":  {"HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\n", "GET", Framing{}, nil},
		"CONNECT opens a tunnel": {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", "CONNECT", Framing{Coding: Tunnel},
			nil},
		"no reason and no space": {"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", "GET", Framing{}, nil},
		"both framings": {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n", "GET",
			Framing{}, ErrTEAndCL},
		"chunked from HTTP/1.0": {"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "GET", Framing{},
			ErrTEInHTTP10},
		"101 that nobody wanted":        {"HTTP/1.1 101 Switching Protocols\r\n\r\n", "GET", Framing{}, ErrStatus},
		"a status of two digits":        {"HTTP/1.1 20 OK\r\n\r\n", "GET", Framing{}, ErrStartLine},
		"a status that is not a number": {"HTTP/1.1 2x0 OK\r\n\r\n", "GET", Framing{}, ErrStatus},
		"a status beyond 599": {"HTTP/1.1 700 OK\r\nContent-Length: 2\r\n\r\n", "GET",
			Framing{Coding: Length, Length: 2}, nil},
		"the last status": {"HTTP/1.1 999 Request denied\r\nContent-Length: 2\r\n\r\n", "GET",
			Framing{Coding: Length, Length: 2}, nil},
		"a status below 100":      {"HTTP/1.1 099 OK\r\n\r\n", "GET", Framing{}, ErrStatus},
		"a status of four digits": {"HTTP/1.1 1000 OK\r\n\r\n", "GET", Framing{}, ErrStartLine},
		"chunked, said twice": {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
			"GET", Framing{Coding: Chunked}, nil},
		"chunked twice in one field": {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n", "GET", Framing{},
			ErrTransferCoding},
		"chunked and gzip": {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: gzip\r\n\r\n",
			"GET", Framing{}, ErrTransferCoding},
		"gzip and chunked": {"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n",
			"GET", Framing{}, ErrTransferCoding},
		"space before the colon": {"HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\n", "GET",
			Framing{Coding: Length, Length: 2}, nil},
		"a coding before spaces": {"HTTP/1.1 200 OK\r\nTransfer-Encoding \t : chunked\r\n\r\n", "GET",
			Framing{Coding: Chunked}, nil},
		"both framings, spaced": {"HTTP/1.1 200 OK\r\nContent-Length : 2\r\nTransfer-Encoding: chunked\r\n\r\n", "GET",
			Framing{}, ErrTEAndCL},
		"a space inside a name": {"HTTP/1.1 200 OK\r\na b: 2\r\n\r\n", "GET", Framing{}, ErrFieldName},
		"a name of spaces":      {"HTTP/1.1 200 OK\r\n : 2\r\n\r\n", "GET", Framing{}, ErrObsFold},
		"another protocol":      {"ICY 200 OK 0000\r\n\r\n", "GET", Framing{}, ErrStartLine},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := ParseResponse([]byte(c.in), &message.Head{}, []byte(c.method), false)
			if !errors.Is(err, c.err) || err == nil && got != c.want {
				t.Errorf("got %+v, %v; want %+v, %v", got, err, c.want, c.err)
			}
		})
	}
}

// A lenient response of a server is forwarded in the canonical form.
func TestResponsesAreSentOnInCanonicalForm(t *testing.T) {
	const in = "HTTP/1.1 200 OK\r\nX-A : 1\r\nX-B\t:\t2 \r\nContent-Length : 002\r\n\r\n"
	h := &message.Head{}
	f, err := ParseResponse([]byte(in), h, []byte("GET"), false)
	if err != nil {
		t.Fatal(err)
	}
	const want = "HTTP/1.1 200 OK\r\nX-A: 1\r\nX-B: 2\r\nContent-Length: 2\r\n\r\n"
	if got := string(AppendResponse(nil, h, f, message.HTTP11)); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	trailers := &message.Head{}
	if err := ParseTrailers([]byte("X-Sum : 1\r\n\r\n"), trailers, Response); err != nil {
		t.Error(err)
	}
	if got := string(AppendLastChunk(nil, trailers)); got != "0\r\nX-Sum: 1\r\n\r\n" {
		t.Errorf("trailers %q", got)
	}
	if err := ParseTrailers([]byte("X-Sum : 1\r\n\r\n"), &message.Head{}, Request); !errors.Is(err, ErrSpaceBeforeColon) {
		t.Errorf("trailers of a request: %v", err)
	}
}

// Old Apache and Tomcat, and CGI programs, pad a chunk's size with spaces.
func TestPaddedChunkSizes(t *testing.T) {
	for name, c := range map[string]struct {
		in       string
		request  error
		response error
	}{
		"spaces":                  {"3   \r\nabc\r\n0  \r\n", ErrChunkSize, nil},
		"a tab":                   {"3\t\r\nabc\r\n0\t\r\n", ErrChunkSize, nil},
		"spaces and an extension": {"3 ;a=b \r\nabc\r\n0\r\n", nil, nil},
		"spaces in front":         {" 3\r\nabc\r\n0\r\n", ErrChunkSize, ErrChunkSize},
		"spaces inside":           {"3 0\r\nabc\r\n0\r\n", ErrChunkSize, ErrChunkSize},
		"spaces only":             {"  \r\nabc\r\n0\r\n", ErrChunkSize, ErrChunkSize},
		"a vertical tab":          {"3\v\r\nabc\r\n0\r\n", ErrChunkSize, ErrChunkSize},
		"a CR":                    {"3\r\r\nabc\r\n0\r\n", ErrChunkSize, ErrChunkSize},
		"endless spaces":          {"3" + strings.Repeat(" ", 300), ErrChunkExtension, ErrChunkExtension},
	} {
		t.Run(name, func(t *testing.T) {
			for kind, want := range map[Kind]error{Request: c.request, Response: c.response} {
				got, err := decode(Chunks{Kind: kind}, c.in, 1)
				if !errors.Is(err, want) || want == nil && got != "abc" {
					t.Errorf("kind %d: got %q, %v; want %v", kind, got, err, want)
				}
			}
		})
	}
}

func TestChunks(t *testing.T) {
	for name, c := range map[string]struct {
		in, want string
		err      error
	}{
		"two chunks":                     {"3\r\nabc\r\n2\r\nde\r\n0\r\n", "abcde", nil},
		"extensions are dropped":         {"3;a=b;c=\"d\"\r\nabc\r\n0 ; x\r\n", "abc", nil},
		"capital digits":                 {"A\r\n0123456789\r\n0\r\n", "0123456789", nil},
		"bare LF after the size":         {"3\nabc\r\n0\r\n", "", ErrBareLF},
		"bare LF after the data":         {"3\r\nabc\n0\r\n", "abc", ErrChunkEnd},
		"data longer than its size":      {"3\r\nabcd\r\n0\r\n", "abc", ErrChunkEnd},
		"an empty size":                  {"\r\nabc\r\n0\r\n", "", ErrChunkSize},
		"a signed size":                  {"+3\r\nabc\r\n0\r\n", "", ErrChunkSize},
		"a prefixed size":                {"0x3\r\nabc\r\n0\r\n", "", ErrChunkSize},
		"a size that overflows":          {"10000000000000003\r\nabc\r\n", "", ErrChunkSize},
		"an underscore in a size":        {"1_0\r\nabc\r\n", "", ErrChunkSize},
		"an extension that never ends":   {"3;" + strings.Repeat("a", 300), "", ErrChunkExtension},
		"a bare CR in an extension":      {"3;a\rb\r\nabc\r\n", "", ErrChunkExtension},
		"space before the size":          {" 3\r\nabc\r\n", "", ErrChunkSize},
		"an extension without semicolon": {"3 a\r\nabc\r\n", "", ErrChunkSize},
	} {
		t.Run(name, func(t *testing.T) {
			for _, step := range []int{1, 1000} {
				got, err := chunks(c.in, step)
				if got != c.want || !errors.Is(err, c.err) {
					t.Errorf("in steps of %d: got %q, %v; want %q, %v", step, got, err, c.want, c.err)
				}
			}
		})
	}
}

// chunks decodes in, which arrives in steps of step bytes.
func chunks(in string, step int) (out string, err error) { return decode(Chunks{}, in, step) }

func decode(c Chunks, in string, step int) (out string, err error) {
	from := 0
	for known := min(step, len(in)); ; known = min(known+step, len(in)) {
		for {
			data, used, trailers, err := c.Next([]byte(in[from:known]))
			out += string(data)
			from += used
			if err != nil || trailers {
				return out, err
			}
			if used == 0 {
				break
			}
		}
		if known == len(in) {
			return out, nil
		}
	}
}

func TestTrailersMustNotFrameOrRoute(t *testing.T) {
	for _, name := range []string{"Content-Length", "transfer-encoding", "Host", "authorization", "connection", "te",
		"Trailer"} {
		if err := ParseTrailers([]byte(name+": 1\r\n\r\n"), &message.Head{}, Request); !errors.Is(err, ErrTrailer) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if err := ParseTrailers([]byte("X-Sum: 1\r\n\r\n"), &message.Head{}, Request); err != nil {
		t.Error(err)
	}
}

func TestParseAndWriteAllocateNothing(t *testing.T) {
	in := []byte(
		"GET /cart?id=1 HTTP/1.1\r\nHost: shop.example:8080\r\nUser-Agent: wrk\r\nConnection: keep-alive\r\nAccept: " +
			"*/*\r\n\r\n")
	var h message.Head
	out := make([]byte, 0, 1024)
	if n := alloctest.Count(t, 1000, func() {
		h.Reset()
		f, err := ParseRequest(in, &h)
		if err != nil {
			t.Fatal(err)
		}
		out = AppendRequest(out[:0], &h, f)
	}); n != 0 {
		t.Errorf("%v allocations a request, want 0", n)
	}
}

// FuzzRequest compares with net/http. It must accept what we accept, and frame it alike. What we write must read as
// what we read.
func FuzzRequest(f *testing.F) {
	f.Add("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	f.Add("POST http://a/b?c HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nConnection: close, x\r\nX: y\r\n\r\n")
	f.Add("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTE: trailers\r\n\r\n")
	f.Add("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
	f.Add("OPTIONS * HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
	f.Fuzz(func(t *testing.T, in string) {
		var s Scanner
		end, err := s.Scan([]byte(in), 64<<10)
		if err != nil || end == 0 {
			return
		}
		h := &message.Head{}
		framing, err := ParseRequest([]byte(in[:end]), h)
		if err != nil {
			return
		}
		compare(t, in[:end], framing)
		again := AppendRequest(nil, h, framing)
		h2 := &message.Head{}
		framing2, err := ParseRequest(again, h2)
		if err != nil {
			t.Fatalf("what was written is refused: %v\n%q\n%q", err, in, again)
		}
		framing2.Expect, framing.Expect = false, false
		if h.Version == message.HTTP10 && framing.Coding == Chunked || framing2 != framing && framing.Coding != Tunnel {
			t.Fatalf("framing %+v became %+v\n%q\n%q", framing, framing2, in, again)
		}
		if string(h.Path()) != string(h2.Path()) || string(h.Authority()) != string(h2.Authority()) ||
			string(h.Method()) != string(h2.Method()) {
			t.Fatalf("%q became %q", in, again)
		}
	})
}

func compare(t *testing.T, head string, f Framing) {
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(head + "\r\n\r\n")))
	if err != nil {
		// net/http parses the target as a URL and knows fewer methods. Only the framing must agree.
		if strings.Contains(err.Error(), "parse") || strings.Contains(err.Error(), "invalid URI") ||
			errors.Is(err, io.ErrUnexpectedEOF) ||
			strings.Contains(err.Error(), "malformed Host") {
			return
		}
		t.Fatalf("net/http refuses what we accept: %v\n%q", err, head)
	}
	chunked := len(r.TransferEncoding) > 0
	if chunked != (f.Coding == Chunked) || f.Coding == Length && r.ContentLength != f.Length || f.Coding == NoBody &&
		r.ContentLength > 0 {
		t.Fatalf("net/http frames differently: length %d, codings %v; we %+v\n%q", r.ContentLength, r.TransferEncoding, f,
			head)
	}
}

// FuzzChunks compares with net/http's decoder: a complete body for us must be the same body for net/http.
func FuzzChunks(f *testing.F) {
	f.Add("3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n")
	f.Add("A \r\n0123456789\r\n0\r\n")
	f.Fuzz(func(t *testing.T, in string) {
		got, err := chunks(in, len(in)+1)
		if bytewise, berr := chunks(in, 1); bytewise != got || (err == nil) != (berr == nil) {
			t.Fatalf("%q, %v at once; %q, %v byte by byte\n%q", got, err, bytewise, berr, in)
		}
		if err != nil || !strings.Contains(in, "0\r\n") {
			return
		}
		want, werr := io.ReadAll(httputil.NewChunkedReader(strings.NewReader(in)))
		if !strings.HasPrefix(string(want), got) && !strings.HasPrefix(got, string(want)) || werr == nil &&
			string(want) != got {
			t.Fatalf("got %q, net/http says %q, %v\n%q", got, want, werr, in)
		}
	})
}

// FuzzResponse: an accepted response that is written again must read the same.
func FuzzResponse(f *testing.F) {
	f.Add("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\n", "GET")
	f.Add("HTTP/1.0 304\r\nX: y\r\n\r\n", "HEAD")
	f.Fuzz(func(t *testing.T, in, method string) {
		var s Scanner
		end, err := s.Scan([]byte(in), 64<<10)
		if err != nil || end == 0 {
			return
		}
		h := &message.Head{}
		framing, err := ParseResponse([]byte(in[:end]), h, []byte(method), true)
		if err != nil {
			return
		}
		again := AppendResponse(nil, h, framing, message.HTTP11)
		h2 := &message.Head{}
		framing2, err := ParseResponse(again, h2, []byte(method), true)
		if err != nil || framing2.Coding != framing.Coding || framing2.Length != framing.Length || h2.Status != h.Status {
			t.Fatalf("%+v became %+v, %v\n%q\n%q", framing, framing2, err, in, again)
		}
	})
}

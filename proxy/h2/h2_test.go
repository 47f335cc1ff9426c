package h2

import (
	"bytes"
	"testing"

	"golang.org/x/net/http2/hpack"

	ours "github.com/tulle-mesh/tulle/proxy/hpack"

	"github.com/tulle-mesh/tulle/proxy/h1"
	"github.com/tulle-mesh/tulle/proxy/message"
)

// read decodes a list of names and values as the given kind.
func read(t testing.TB, k Kind, fields ...string) (*message.Head, int64, string) {
	t.Helper()
	var buf bytes.Buffer
	enc := hpack.NewEncoder(&buf)
	for i := 0; i+1 < len(fields); i += 2 {
		_ = enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	h := &message.Head{}
	var r HeadReader
	r.Begin(h, k)
	if err := ours.NewDecoder().Decode(buf.Bytes(), h, ours.Limits{List: 1 << 20, Read: 1 << 20}, &r); err != nil {
		t.Fatal(err)
	}
	return h, r.Length, r.End()
}

func TestRequestLists(t *testing.T) {
	get := []string{":method", "GET", ":scheme", "http", ":authority", "a", ":path", "/"}
	with := func(more ...string) []string { return append(append([]string{}, get...), more...) }
	for name, c := range map[string]struct {
		fields []string
		want   string
	}{
		"well-formed":                        {with("x", "y"), ""},
		"host instead of :authority":         {[]string{":method", "GET", ":scheme", "http", ":path", "/", "host", "a"}, ""},
		"host that agrees":                   {with("host", "A"), ""},
		"CONNECT":                            {[]string{":method", "CONNECT", ":authority", "a:1"}, ""},
		"OPTIONS *":                          {[]string{":method", "OPTIONS", ":scheme", "http", ":path", "*"}, ""},
		"te: trailers":                       {with("te", "trailers"), ""},
		"host with the default port, §8.3.1": {with("host", "a:80"), ""},
		"host with an empty port":            {with("host", "a:"), ""},
		"host without the default port": {[]string{":method", "GET", ":scheme", "https", ":authority", "a:443", ":path",
			"/", "host", "A"}, ""},
		"scheme after the host's authority": {[]string{":method", "GET", ":authority", "a:443", ":path", "/", ":scheme",
			"https", "host", "a"}, ""},
		"host that differs, §8.3.1":       {with("host", "b"), "host_mismatch"},
		"host with another port":          {with("host", "a:8080"), "host_mismatch"},
		"host with another scheme's port": {with("host", "a:443"), "host_mismatch"},
		"host without the port of CONNECT": {[]string{":method", "CONNECT", ":authority", "a:443", "host", "a"},
			"host_mismatch"},
		"two hosts":                 {with("host", "a", "host", "a"), "host"},
		"upper-case name, §8.2.1":   {with("X", "y"), "field_name"},
		"empty name":                {with("", "y"), "field_name"},
		"name with a colon":         {with("x:y", "z"), "field_name"},
		"name with a space":         {with("x y", "z"), "field_name"},
		"value with CRLF, §8.2.1":   {with("x", "a\r\nb: c"), "field_value"},
		"value with NUL":            {with("x", "a\x00"), "field_value"},
		"value with space in front": {with("x", " a"), "field_value"},
		"connection, §8.2.2":        {with("connection", "close"), "connection_field"},
		"transfer-encoding":         {with("transfer-encoding", "chunked"), "connection_field"},
		"upgrade":                   {with("upgrade", "x"), "connection_field"},
		"keep-alive":                {with("keep-alive", "x"), "connection_field"},
		"proxy-connection":          {with("proxy-connection", "x"), "connection_field"},
		"te: gzip":                  {with("te", "gzip"), "connection_field"},
		"pseudo-header after a field, §8.3": {[]string{":method", "GET", "x", "y", ":scheme", "http", ":path", "/"},
			"pseudo_header"},
		"unknown pseudo-header":              {with(":x", "y"), "pseudo_header"},
		"response pseudo-header":             {with(":status", "200"), "pseudo_header"},
		"pseudo-header twice":                {append([]string{":path", "/"}, get...), "pseudo_header"},
		"no method":                          {[]string{":scheme", "http", ":path", "/"}, "method"},
		"no scheme":                          {[]string{":method", "GET", ":path", "/"}, "scheme"},
		"no path":                            {[]string{":method", "GET", ":scheme", "http"}, "path"},
		"empty path":                         {[]string{":method", "GET", ":scheme", "http", ":path", ""}, "path"},
		"path without slash, CVE-2026-33186": {[]string{":method", "POST", ":scheme", "http", ":path", "pkg.Svc/M"}, "path"},
		"path with a space":                  {[]string{":method", "GET", ":scheme", "http", ":path", "/ HTTP/1.1"}, "path"},
		"method with a space":                {[]string{":method", "GET /x", ":scheme", "http", ":path", "/"}, "method"},
		"authority with userinfo": {[]string{":method", "GET", ":scheme", "http", ":authority", "u@a", ":path",
			"/"}, "authority"},
		"CONNECT with a path, §8.5":           {[]string{":method", "CONNECT", ":authority", "a:1", ":path", "/"}, "connect"},
		"content-length that is not a number": {with("content-length", "x"), "content_length"},
		"two content-lengths that differ":     {with("content-length", "1", "content-length", "2"), "content_length"},
		":protocol without CONNECT":           {with(":protocol", "websocket"), "protocol"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, _, got := read(t, Request, c.fields...); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// Routes, policy and metrics must use the same authority as the application.
func TestAuthorityGoesBeforeHost(t *testing.T) {
	for name, c := range map[string]struct {
		authority, host, want string
	}{
		"both":           {"a", "A:80", "a"},
		"with its port":  {"a:80", "a", "a:80"},
		"host alone":     {"", "a:80", "a:80"},
		":authority too": {"a:80", "", "a:80"},
	} {
		t.Run(name, func(t *testing.T) {
			fields := []string{":method", "GET", ":scheme", "http", ":path", "/"}
			if c.authority != "" {
				fields = append(fields, ":authority", c.authority)
			}
			if c.host != "" {
				fields = append(fields, "host", c.host)
			}
			h, _, reason := read(t, Request, fields...)
			if got := string(h.Authority()); reason != "" || got != c.want || h.Has("host") {
				t.Errorf("got %q, host %v, %q; want %q", got, h.Has("host"), reason, c.want)
			}
		})
	}
}

func TestCookieCrumbsAreJoined(t *testing.T) {
	h, _, reason := read(t, Request, ":method", "GET", ":scheme", "http", ":path", "/", "cookie", "a=1", "x", "y",
		"cookie", "b=2")
	if v, _ := h.Get("cookie"); reason != "" || string(v) != "a=1; b=2" || h.Len() != 2 {
		t.Errorf("got %q, %q", v, reason)
	}
}

// Some parsers read a leading zero as octal, so only one spelling is forwarded.
func TestContentLengthIsNormalized(t *testing.T) {
	for in, want := range map[string]string{"002": "2", "010": "10", "0": "0", "00": "0", "12": "12"} {
		for _, k := range []Kind{Request, Response} {
			fields := []string{":status", "200"}
			if k == Request {
				fields = []string{":method", "POST", ":scheme", "http", ":path", "/"}
			}
			h, _, reason := read(t, k, append(fields, "content-length", in)...)
			if got, _ := h.Get("content-length"); reason != "" || string(got) != want {
				t.Errorf("%s: got %q, %q; want %q", in, got, reason, want)
			}
		}
	}
}

func TestResponseAndTrailerLists(t *testing.T) {
	for _, c := range []struct {
		kind   Kind
		fields []string
		want   string
	}{
		{Response, []string{":status", "200", "content-length", "3"}, ""},
		{Response, []string{":status", "999"}, ""},
		{Response, []string{":status", "099"}, "status"},
		{Response, []string{":status", "1000"}, "status"},
		{Response, []string{":status", "101"}, "status"},
		{Response, []string{":status", "20"}, "status"},
		{Response, []string{":status", "2x0"}, "status"},
		{Response, []string{"x", "y"}, "status"},
		{Response, []string{":status", "200", ":path", "/"}, "pseudo_header"},
		{Trailers, []string{"grpc-status", "0"}, ""},
		{Trailers, []string{":status", "200"}, "pseudo_header"},
		{Trailers, []string{"content-length", "3"}, "content_length"},
	} {
		if _, _, got := read(t, c.kind, c.fields...); got != c.want {
			t.Errorf("%v: got %q, want %q", c.fields, got, c.want)
		}
	}
}

// FuzzNoSmuggling: an accepted request list, written as HTTP/1, must read as one request with the same parts.
func FuzzNoSmuggling(f *testing.F) {
	f.Add("GET", "http", "a", "/", "x", "y")
	f.Add("POST", "http", "a:80", "/?q#", "content-length", "3")
	f.Add("OPTIONS", "https", "[::1]", "*", "cookie", "a\r\nHost: b")
	f.Fuzz(func(t *testing.T, method, scheme, authority, path, name, value string) {
		h, length, reason := read(t, Request, ":method", method, ":scheme", scheme, ":authority", authority, ":path", path,
			name, value)
		if reason != "" || method == "CONNECT" {
			return
		}
		framing := h1.Framing{}
		if length > 0 {
			framing = h1.Framing{Coding: h1.Length, Length: length}
		}
		wire := h1.AppendRequest(nil, h, framing)
		var s h1.Scanner
		end, err := s.Scan(wire, 1<<20)
		if err != nil || end != len(wire) {
			t.Fatalf("the head ends at %d of %d, %v\n%q", end, len(wire), err, wire)
		}
		back := &message.Head{}
		got, err := h1.ParseRequest(wire, back)
		if err != nil {
			if e, ok := err.(*h1.Error); ok && (e == h1.ErrExpectation || e == h1.ErrMethod) {
				return // the next hop refuses an unknown expectation with a status
			}
			t.Fatalf("%v\n%q", err, wire)
		}
		if got != framing || string(back.Path()) != string(h.Path()) || string(back.Authority()) != string(h.Authority()) {
			t.Fatalf("%+v became %+v\n%q", framing, got, wire)
		}
	})
}

// Servers that merge trailers into the head must not get a host, a credential or an identity from them.
func TestTrailersDoNotRouteOrAuthorize(t *testing.T) {
	h, _, reason := read(t, Trailers, "host", "b", "authorization", "x", "l5d-client-id", "x", "l5d_client_id", "x",
		"grpc-status", "0")
	if reason != "" || h.Len() != 1 || !h.Has("grpc-status") {
		t.Errorf("%d fields are left, reason %q; want grpc-status alone", h.Len(), reason)
	}
}

package forward

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// once runs an application that answers every request with raw bytes and closes.
func once(t *testing.T, raw string) string {
	return rawApp(t, func(_ int, c net.Conn, br *bufio.Reader) {
		if _, err := http.ReadRequest(br); err == nil {
			_, _ = io.WriteString(c, raw)
		}
	})
}

// Nothing of such a response went to the client yet, so it can get an error.
func TestBrokenResponsesBecome502(t *testing.T) {
	const chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
	for name, c := range map[string]struct{ raw, fault string }{
		"a size that is not a number":   {chunked + "zz\r\nabc\r\n0\r\n\r\n", "bad_response/chunk_size"},
		"a second size that is none":    {chunked + "3\r\nabc\r\n-1\r\n", "bad_response/chunk_size"},
		"data longer than its size":     {chunked + "3\r\nabcd\r\n0\r\n\r\n", "bad_response/chunk_end"},
		"a bare LF behind a size":       {chunked + "3\nabc\r\n0\r\n\r\n", "bad_response/bare_lf"},
		"an endless extension":          {chunked + "3;" + strings.Repeat("x", 300), "bad_response/chunk_extension"},
		"a trailer that frames":         {chunked + "0\r\nContent-Length: 3\r\n\r\n", "bad_response/trailer"},
		"a trailer that is not a field": {chunked + "0\r\nabc\r\n\r\n", "bad_response/field_name"},
		"both framings": {
			"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n", "bad_response/te_and_cl",
		},
		"two lengths": {
			"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nab", "bad_response/content_length",
		},
		"a coding that nobody knows": {
			"HTTP/1.1 200 OK\r\nTransfer-Encoding: zip\r\n\r\n", "bad_response/transfer_encoding",
		},
		"a status line that is none": {"hello\r\n\r\n", "bad_response/start_line"},
		"a broken head after a 103": {
			"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 2x0 OK\r\n\r\n", "bad_response/status",
		},
		"an end inside the head": {"HTTP/1.1 200 OK\r\nContent-Le", "lost/"},
		"an end before the head": {"", "lost/"},
		"an end after a 103":     {"HTTP/1.1 103 Early Hints\r\n\r\n", "lost/"},
		"a folded field": {
			"HTTP/1.1 200 OK\r\nA: b\r\n c\r\nContent-Length: 0\r\n\r\n", "bad_response/obs_fold",
		},
		"a 101 that nobody asked for": {"HTTP/1.1 101 Switching Protocols\r\n\r\n", "bad_response/status"},
	} {
		t.Run(name, func(t *testing.T) {
			h1Pairs(t, once(t, c.raw), Config{}, func(t *testing.T, r *route) {
				conn, br := r.connect(t)
				send(t, conn, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
				req, _ := http.NewRequest("POST", "/", nil)
				resp, err := http.ReadResponse(br, req)
				for err == nil && resp.StatusCode == 103 {
					resp, err = http.ReadResponse(br, req)
				}
				if err != nil {
					t.Fatal(err)
				}
				got := resp.Header.Get("X-Fault")
				if _ = readBody(t, resp, nil); resp.StatusCode != 502 || got != c.fault {
					t.Errorf("got %d %q, want 502 %q", resp.StatusCode, got, c.fault)
				}
			})
		})
	}
}

// What servers write loosely, and every client reads in one way, arrives in the canonical form.
func TestLooseResponsesAreSentOnInCanonicalForm(t *testing.T) {
	const head, tail = "HTTP/1.1 200 OK\r\nX-A: 1\r\n", "\r\n3\r\nabc\r\n0\r\n\r\n"
	const chunked = head + "Transfer-Encoding: chunked\r\n" + tail
	for name, c := range map[string]struct{ raw, want string }{
		"padded chunk sizes": {head + "Transfer-Encoding: chunked\r\n\r\n3  \t\r\nabc\r\n0   \r\n\r\n", chunked},
		"chunked, said twice": {
			head + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n" + tail, chunked,
		},
		"space before a colon": {"HTTP/1.1 200 OK\r\nX-A : 1\r\nTransfer-Encoding\t: chunked\r\n" + tail, chunked},
		"a length with zeros":  {head + "Content-Length: 003\r\n\r\nabc", head + "Content-Length: 3\r\n\r\nabc"},
		"a status beyond 599": {
			"HTTP/1.1 999 No\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 999 \r\nContent-Length: 0\r\n\r\n",
		},
		"a status that is unknown": {
			"HTTP/1.1 600 No\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 600 \r\nContent-Length: 0\r\n\r\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			h1Pairs(t, once(t, c.raw), Config{}, func(t *testing.T, r *route) {
				conn, br := r.connect(t)
				send(t, conn, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
				got, err := io.ReadAll(br)
				if err != nil {
					t.Fatal(err)
				}
				norm := strings.ReplaceAll(string(got), "Connection: close\r\n", "")
				if !strings.EqualFold(norm, c.want) {
					t.Errorf("got %q, want %q", norm, c.want)
				}
			})
		})
	}
}

// The same in a request is refused: the server behind might read it otherwise.
func TestLooseRequestsAreRefused(t *testing.T) {
	app := serveApp(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) }))
	const chunked = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"
	for name, raw := range map[string]string{
		"padded chunk sizes":   chunked + "\r\n3 \r\nabc\r\n0\r\n\r\n",
		"chunked, said twice":  chunked + "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
		"space before a colon": "POST / HTTP/1.1\r\nHost: a\r\nContent-Length : 3\r\n\r\nabc",
	} {
		t.Run(name, func(t *testing.T) {
			h1Pairs(t, app, Config{}, func(t *testing.T, r *route) {
				conn, br := r.connect(t)
				send(t, conn, raw)
				got, _ := io.ReadAll(br)
				if s := fmt.Sprintf("%.12s", got); s != "HTTP/1.1 400" && s != "HTTP/1.1 501" {
					t.Errorf("got %q", got)
				}
			})
		})
	}
}

package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/coder/websocket"
)

// answer is what the client saw of a response.
type answer struct {
	Status  int         `json:"status"`
	Proto   string      `json:"proto"`
	Header  http.Header `json:"header"`
	Trailer http.Header `json:"trailer,omitempty"`
	Bytes   int64       `json:"bytes"`
	SHA256  string      `json:"sha256"`
	// Body is the first 64 KiB.
	Body     string  `json:"body"`
	Continue bool    `json:"continue"`
	Error    string  `json:"error,omitempty"`
	Seconds  float64 `json:"seconds"`
}

func httpCommand(args []string) error {
	fs := flags("http")
	url := fs.String("url", "", "where to send the request")
	method := fs.String("method", http.MethodGet, "method")
	proto := fs.String("proto", "h1", "h1, h2c, or raw (send -raw, read to the end)")
	body := fs.Int64("body", 0, "bytes of zeros to send as the body")
	text := fs.String("text", "", "body text")
	raw := fs.String("raw", "", "with -proto raw: the bytes to send; \\r and \\n are unescaped")
	timeout := fs.Duration("timeout", 30*time.Second, "for the whole request")
	insecure := fs.Bool("insecure", false, "accept any certificate of an https server")
	expect := fs.Bool("expect-continue", false, "send Expect: 100-continue")
	trailer := fs.String("trailer", "", "value of request trailer X-Request-Checksum")
	var headers headerList
	fs.Var(&headers, "header", "header to send, \"Name: value\"; repeatable")
	_ = fs.Parse(args)

	ctx, cancel := context.WithTimeout(context.Background(), *timeout)
	defer cancel()
	if *proto == "raw" {
		return rawRequest(ctx, *url, *raw)
	}
	req, err := http.NewRequestWithContext(ctx, *method, *url, requestBody(*body, *text))
	if err != nil {
		return err
	}
	headers.addTo(req)
	if *body > 0 {
		req.ContentLength = *body
	}
	if *trailer != "" {
		req.ContentLength = -1
		req.Trailer = http.Header{"X-Request-Checksum": {*trailer}}
	}
	if *expect {
		req.Header.Set("Expect", "100-continue")
	}
	t := transport(*proto)
	t.TLSClientConfig = &tls.Config{InsecureSkipVerify: *insecure}
	return printJSON(roundTrip(t, req))
}

func requestBody(n int64, text string) io.Reader {
	switch {
	case n > 0:
		return io.LimitReader(zeros{}, n)
	case text != "":
		return strings.NewReader(text)
	default:
		return nil
	}
}

func transport(proto string) *http.Transport {
	t := &http.Transport{Protocols: new(http.Protocols), ExpectContinueTimeout: 20 * time.Second, MaxIdleConnsPerHost: 256}
	t.Protocols.SetHTTP1(proto == "h1")
	t.Protocols.SetUnencryptedHTTP2(proto == "h2c")
	return t
}

func roundTrip(t *http.Transport, req *http.Request) (a answer) {
	req = req.WithContext(withContinue(req.Context(), &a.Continue))
	begun := time.Now()
	defer func() { a.Seconds = time.Since(begun).Seconds() }()
	resp, err := t.RoundTrip(req)
	if err != nil {
		a.Error = err.Error()
		return a
	}
	defer func() { _ = resp.Body.Close() }()
	sum := sha256.New()
	var head strings.Builder
	a.Bytes, err = io.Copy(io.MultiWriter(sum, &limitWriter{&head, 64 << 10}), resp.Body)
	if err != nil {
		a.Error = err.Error()
	}
	a.Status, a.Proto, a.Header, a.Trailer = resp.StatusCode, resp.Proto, resp.Header, resp.Trailer
	a.SHA256, a.Body = hex.EncodeToString(sum.Sum(nil)), head.String()
	return a
}

// limitWriter keeps the first n bytes and swallows the rest.
type limitWriter struct {
	w io.Writer
	n int
}

func (l *limitWriter) Write(p []byte) (int, error) {
	if keep := min(l.n, len(p)); keep > 0 {
		l.n -= keep
		if _, err := l.w.Write(p[:keep]); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}

// rawRequest sends bytes as they are and prints all that comes back.
func rawRequest(ctx context.Context, addr, raw string) error {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	deadline, _ := ctx.Deadline()
	_ = conn.SetDeadline(deadline)
	if _, err := io.WriteString(conn, strings.NewReplacer(`\r`, "\r", `\n`, "\n", `\0`, "\x00").Replace(raw)); err != nil {
		return err
	}
	got, err := io.ReadAll(io.LimitReader(conn, 1<<20))
	a := answer{Body: string(got), Bytes: int64(len(got))}
	if err != nil {
		a.Error = err.Error()
	}
	return printJSON(a)
}

func websocketCommand(args []string) error {
	fs := flags("ws")
	url := fs.String("url", "", "ws://host:port/ws")
	count := fs.Int("count", 100, "messages to echo")
	size := fs.Int("size", 1000, "bytes a message")
	_ = fs.Parse(args)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	conn, _, err := websocket.Dial(ctx, *url, nil)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(websocket.StatusNormalClosure, "") }()
	message := strings.Repeat("x", *size)
	for i := range *count {
		if err := conn.Write(ctx, websocket.MessageText, []byte(message)); err != nil {
			return fmt.Errorf("message %d: %w", i, err)
		}
		_, got, err := conn.Read(ctx)
		if err != nil {
			return fmt.Errorf("message %d: %w", i, err)
		}
		if string(got) != message {
			return fmt.Errorf("message %d: got %d other bytes", i, len(got))
		}
	}
	return printJSON(map[string]int{"echoed": *count})
}

// tcpResult is what a TCP conversation gave.
type tcpResult struct {
	First   string  `json:"first,omitempty"`
	Answer  string  `json:"answer"`
	Seconds float64 `json:"seconds"`
	Error   string  `json:"error,omitempty"`
}

func tcpCommand(args []string) error {
	fs := flags("tcp")
	addr := fs.String("addr", "", "host:port")
	send := fs.Int64("send", 1000, "bytes to send before closing the sending half")
	text := fs.String("text", "", "text to send instead of zeros")
	banner := fs.Bool("banner", false, "read a line before sending anything")
	hold := fs.Duration("hold", 0, "keep the connection open this long after sending, reporting an early end")
	_ = fs.Parse(args)

	start := time.Now()
	var r tcpResult
	err := converse(*addr, *send, *text, *banner, *hold, &r)
	if err != nil {
		r.Error = err.Error()
	}
	r.Seconds = time.Since(start).Seconds()
	return printJSON(r)
}

func converse(addr string, send int64, text string, banner bool, hold time.Duration, r *tcpResult) error {
	c, err := net.DialTimeout("tcp", addr, 10*time.Second)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	conn := c.(*net.TCPConn)
	_ = conn.SetDeadline(time.Now().Add(hold + 60*time.Second))
	in := bufio.NewReader(conn)
	if banner {
		if r.First, err = in.ReadString('\n'); err != nil {
			return fmt.Errorf("read banner: %w", err)
		}
	}
	body := io.LimitReader(zeros{}, send)
	if text != "" {
		body = strings.NewReader(text)
	}
	if _, err := io.Copy(conn, body); err != nil {
		return fmt.Errorf("send: %w", err)
	}
	if hold > 0 {
		if err := stayOpen(conn, in, hold); err != nil {
			return err
		}
	}
	if err := conn.CloseWrite(); err != nil {
		return fmt.Errorf("close sending half: %w", err)
	}
	got, err := io.ReadAll(in)
	r.Answer = string(got[:min(len(got), 4096)])
	return err
}

// stayOpen returns an error when the connection ends before d has passed.
func stayOpen(conn *net.TCPConn, in *bufio.Reader, d time.Duration) error {
	_ = conn.SetReadDeadline(time.Now().Add(d))
	for {
		_, err := in.ReadByte()
		var timeout net.Error
		switch {
		case err == nil:
		case errors.As(err, &timeout) && timeout.Timeout():
			return conn.SetReadDeadline(time.Now().Add(time.Minute))
		default:
			return fmt.Errorf("ended early: %w", err)
		}
	}
}

func tlsCommand(args []string) error {
	fs := flags("tls")
	addr := fs.String("addr", "", "host:port of the application's own TLS")
	_ = fs.Parse(args)
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: 10 * time.Second}, "tcp", *addr,
		&tls.Config{InsecureSkipVerify: true, ServerName: "app-own-tls"}) // the subject is printed and asserted instead
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	_, err = fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: app-own-tls\r\nConnection: close\r\n\r\n")
	if err != nil {
		return err
	}
	got, err := io.ReadAll(conn)
	if err != nil {
		return err
	}
	return printJSON(map[string]string{"subject": conn.ConnectionState().PeerCertificates[0].Subject.CommonName,
		"answer": string(got)})
}

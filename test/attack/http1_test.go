package attack

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"
)

const head = "GET / HTTP/1.1\r\nhost: app\r\n"

// http1Attacks send HTTP/1, or nothing, to the server's proxy.
func http1Attacks() []attack {
	return []attack{
		{name: "slowloris", from: "stranger", what: "2,000 connections, each sends a header of four bytes a second",
			memoryMiB: 64,
			run: func(ctx context.Context, p *pair) (int, error) {
				return connections(ctx, 2000, 2000, stranger(p),
					begins(head, func(c net.Conn, _ int) error { return write(c, "a:b\r") }))
			}},
		{name: "header flood", from: "stranger", what: "64 connections send heads of 8 MiB", memoryMiB: 64,
			endsConnections: true,
			run: func(ctx context.Context, p *pair) (int, error) {
				line := "x: " + strings.Repeat("a", 4000) + "\r\n"
				return connections(ctx, 64, 6400, stranger(p),
					begins(head, func(c net.Conn, n int) error { return write(c, line) }))
			}},
		{name: "slow bodies", from: "stranger", what: "2,000 uploads of one byte a second", memoryMiB: 64,
			run: func(ctx context.Context, p *pair) (int, error) {
				return connections(ctx, 2000, 2000, stranger(p),
					begins("POST / HTTP/1.1\r\nhost: app\r\ncontent-length: 100000\r\n\r\n",
						func(c net.Conn, _ int) error { return write(c, "x") }))
			}},
		{name: "tiny chunks", from: "stranger", what: "16 uploads in chunks of one byte, 40,000 a second in writes of 64",
			memoryMiB: 32,
			run: func(ctx context.Context, p *pair) (int, error) {
				chunks := strings.Repeat("1\r\nx\r\n", 64)
				return connections(ctx, 16, 640, stranger(p),
					begins("POST / HTTP/1.1\r\nhost: app\r\ntransfer-encoding: chunked\r\n\r\n",
						func(c net.Conn, _ int) error { return write(c, chunks) }))
			}},
		{name: "answers nobody reads", from: "stranger", what: "200 connections ask for 1 MiB four times and never read",
			memoryMiB: 96,
			run: func(ctx context.Context, p *pair) (int, error) {
				return connections(ctx, 200, 200, stranger(p), func(net.Conn) (step, error) {
					return func(c net.Conn, n int) error {
						if n < 4 {
							return write(c, "GET /large HTTP/1.1\r\nhost: app\r\n\r\n")
						}
						return nil
					}, nil
				})
			}},
		{name: "idle connections", from: "stranger", what: "10,000 connections that say nothing", memoryMiB: 192,
			run: func(ctx context.Context, p *pair) (int, error) {
				return connections(ctx, 10000, 1000, stranger(p), func(net.Conn) (step, error) {
					return func(net.Conn, int) error { return nil }, nil
				})
			}},
		{name: "connection churn", from: "stranger", what: "64 clients connect and reset, 2,000 a second", memoryMiB: 32,
			run: func(ctx context.Context, p *pair) (int, error) {
				return connections(ctx, 64, 2000, stranger(p), func(c net.Conn) (step, error) {
					return func(c net.Conn, n int) error {
						_ = c.(*net.TCPConn).SetLinger(0)
						_ = c.Close()
						return fmt.Errorf("closed by the attacker")
					}, nil
				})
			}},
		{name: "half handshakes", from: "stranger",
			what: "500 mesh TLS handshakes that stop after the first record, made again, 1,000 a second", memoryMiB: 80,
			run: func(ctx context.Context, p *pair) (int, error) {
				hello, err := clientHello(ctx, p)
				if err != nil {
					return 0, err
				}
				return connections(ctx, 500, 1000, stranger(p), begins(string(hello), func(c net.Conn, n int) error {
					if n > 0 {
						return fmt.Errorf("given up by the attacker")
					}
					return nil
				}))
			}},
		{name: "metrics scrapes", from: "stranger", what: "32 clients read /metrics in a loop", memoryMiB: 48,
			run: func(ctx context.Context, p *pair) (int, error) {
				dialer := &net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(attackerAddr, 0))}
				client := &http.Client{Transport: &http.Transport{DialContext: dialer.DialContext, MaxIdleConnsPerHost: 32}}
				defer client.CloseIdleConnections()
				return connections(ctx, 32, 400, func(context.Context) (net.Conn, error) { a, _ := net.Pipe(); return a, nil },
					func(net.Conn) (step, error) {
						return func(net.Conn, int) error { return scrape(ctx, client) }, nil
					})
			}},
	}
}

func scrape(ctx context.Context, client *http.Client) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+inAdmin.String()+"/metrics", nil)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	_, err = io.Copy(io.Discard, response.Body)
	return err
}

// begins writes a prefix once, then runs do. What the proxy answers is read and dropped.
func begins(prefix string, do step) func(net.Conn) (step, error) {
	return func(c net.Conn) (step, error) {
		drain(c)
		return do, write(c, prefix)
	}
}

func write(c net.Conn, s string) error {
	_ = c.SetWriteDeadline(time.Now().Add(5 * time.Second))
	_, err := io.WriteString(c, s)
	return err
}

// clientHello is the first record of a mesh TLS handshake.
func clientHello(ctx context.Context, p *pair) ([]byte, error) {
	l, err := net.Listen("tcp", netip.AddrPortFrom(attackerAddr, 0).String())
	if err != nil {
		return nil, err
	}
	defer func() { _ = l.Close() }()
	go func() {
		c, err := net.Dial("tcp", l.Addr().String())
		if err == nil {
			_ = p.tlsClient(c).HandshakeContext(ctx) // it ends without an answer
		}
	}()
	c, err := l.Accept()
	if err != nil {
		return nil, err
	}
	defer func() { _ = c.Close() }()
	buf := make([]byte, 4096)
	n, err := c.Read(buf)
	return bytes.Clone(buf[:n]), err
}

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"net/url"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"
)

// portForward is where the forward proxy listens.
const portForward = ":3128"

// forwarded is a request as a forward proxy got it.
type forwarded struct {
	Method string `json:"method"`
	Target string `json:"target"`
	Host   string `json:"host"`
}

// forwarder is a forward proxy for CONNECT and for http URLs. It remembers what it was asked; GET /requests returns and
// forgets that.
type forwarder struct {
	mu       sync.Mutex // guards the field below
	requests []forwarded
}

func forwardCommand(args []string) error {
	_ = flags("forward").Parse(args)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	return serveTCP(ctx, portForward, new(forwarder).serve)
}

// serve takes one request of a connection. It does not use net/http, which hides the Host field of a request with an
// absolute URL.
func (f *forwarder) serve(conn *net.TCPConn) {
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	in := bufio.NewReader(conn)
	head := textproto.NewReader(in)
	line, err := head.ReadLine()
	if err != nil {
		return
	}
	header, err := head.ReadMIMEHeader()
	if err != nil {
		return
	}
	method, rest, _ := strings.Cut(line, " ")
	target, _, _ := strings.Cut(rest, " ")
	if strings.HasPrefix(target, "/") {
		f.report(conn)
		return
	}
	f.record(forwarded{method, target, header.Get("Host")})
	authority, path := target, ""
	if method != "CONNECT" {
		at, err := url.Parse(target)
		if err != nil || at.Scheme != "http" {
			reply(conn, "400 Bad Request", "not an http URL")
			return
		}
		authority, path = strings.TrimSuffix(at.Host, ":80"), at.RequestURI()
	}
	upstream, err := (&net.Dialer{Timeout: 10 * time.Second}).Dial("tcp", withPort(authority))
	if err != nil {
		reply(conn, "502 Bad Gateway", err.Error())
		return
	}
	defer func() { _ = upstream.Close() }()
	if method == "CONNECT" {
		_, err = io.WriteString(conn, "HTTP/1.1 200 Connection established\r\n\r\n")
	} else {
		err = passHead(upstream, method, path, authority, header)
	}
	if err == nil {
		splice(conn, in, upstream.(*net.TCPConn))
	}
}

// passHead sends a request head on: the target's authority replaces Host (RFC 9112, section 3.2.2).
func passHead(w io.Writer, method, path, authority string, header textproto.MIMEHeader) error {
	var head strings.Builder
	fmt.Fprintf(&head, "%s %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n", method, path, authority)
	for name, values := range header {
		switch name {
		case "Host", "Connection", "Proxy-Connection":
			continue
		}
		for _, value := range values {
			fmt.Fprintf(&head, "%s: %s\r\n", name, value)
		}
	}
	_, err := io.WriteString(w, head.String()+"\r\n")
	return err
}

// splice passes bytes both ways until the upstream ends.
func splice(conn *net.TCPConn, in io.Reader, upstream *net.TCPConn) {
	go func() {
		_, _ = io.Copy(upstream, in)
		_ = upstream.CloseWrite()
	}()
	_, _ = io.Copy(conn, upstream)
}

func withPort(authority string) string {
	if _, _, err := net.SplitHostPort(authority); err != nil {
		return net.JoinHostPort(authority, "80")
	}
	return authority
}

func (f *forwarder) record(r forwarded) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.requests = append(f.requests, r)
}

func (f *forwarder) report(w io.Writer) {
	f.mu.Lock()
	defer f.mu.Unlock()
	body, err := json.Marshal(f.requests)
	if err != nil {
		return
	}
	f.requests = nil
	reply(w, "200 OK", string(body))
}

func reply(w io.Writer, status, body string) {
	_, _ = fmt.Fprintf(w, "HTTP/1.1 %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", status, len(body), body)
}

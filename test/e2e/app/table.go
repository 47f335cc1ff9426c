package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"
)

// call is one attempt to reach a server.
type call struct {
	How    string `json:"how"`  // h1, h2, grpc, tcp or raw
	Addr   string `json:"addr"` // host:port
	Target string `json:"target,omitempty"`
	Raw    string `json:"raw,omitempty"` // the bytes that raw sends; answers are read until the server ends the connection
}

// outcome is what came of it: an HTTP status, "grpc " and a status, "echo", "reset", several statuses, or an error.
type outcome struct {
	Got         string `json:"got"`
	ProxyStatus string `json:"proxy_status,omitempty"` // of the last answer
	RetryAfter  string `json:"retry_after,omitempty"`
}

// tableCommand reads calls from its standard input, makes all of them, some at a time, and prints their outcomes in the
// same order.
func tableCommand(args []string) error {
	fs := flags("table")
	parallel := fs.Int("parallel", 16, "calls at a time")
	_ = fs.Parse(args)
	var calls []call
	if err := json.NewDecoder(os.Stdin).Decode(&calls); err != nil {
		return err
	}
	outcomes := make([]outcome, len(calls))
	slots := make(chan struct{}, *parallel)
	var wg sync.WaitGroup
	for i, c := range calls {
		slots <- struct{}{}
		wg.Go(func() {
			outcomes[i] = c.try()
			<-slots
		})
	}
	wg.Wait()
	return printJSON(outcomes)
}

func (c call) try() outcome {
	ctx, cancel := context.WithTimeout(context.Background(), 8*time.Second)
	defer cancel()
	var o outcome
	var err error
	switch c.How {
	case "tcp":
		o.Got, err = c.echo(ctx)
	case "raw":
		o, err = c.bytes(ctx)
	default:
		o, err = c.request(ctx)
	}
	switch {
	case errors.Is(err, syscall.ECONNRESET) || errors.Is(err, io.EOF):
		o.Got = strings.TrimSpace(o.Got + " reset")
	case err != nil:
		o.Got = strings.TrimSpace(o.Got + " " + err.Error())
	}
	return o
}

// request sends Target, "[METHOD ]path", as it is written.
func (c call) request(ctx context.Context) (outcome, error) {
	method, path, ok := strings.Cut(c.Target, " ")
	if !ok {
		method, path = http.MethodGet, c.Target
	}
	at := &url.URL{Scheme: "http", Host: c.Addr}
	path, at.RawQuery, _ = strings.Cut(path, "?")
	if strings.HasPrefix(path, "//") { // which would be a host
		at.Path = path
	} else {
		at.Opaque = path // as it is
	}
	req := (&http.Request{Method: method, Host: "cell.example", Header: http.Header{}, URL: at}).WithContext(ctx)
	proto := c.How
	if c.How != "h1" {
		proto = "h2c"
	}
	if c.How == "grpc" {
		req.Method = http.MethodPost
		req.Header.Set("Content-Type", "application/grpc")
		req.Header.Set("Te", "trailers")
		req.Body = io.NopCloser(strings.NewReader("\x00\x00\x00\x00\x00")) // an empty message
	}
	t := transport(proto)
	defer t.CloseIdleConnections()
	res, err := t.RoundTrip(req)
	if err != nil {
		return outcome{}, err
	}
	defer func() { _ = res.Body.Close() }()
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		return outcome{}, err
	}
	o := outcome{Got: fmt.Sprint(res.StatusCode), ProxyStatus: res.Header.Get("Proxy-Status"),
		RetryAfter: res.Header.Get("Retry-After")}
	if status := res.Header.Get("Grpc-Status") + res.Trailer.Get("Grpc-Status"); status != "" {
		o.Got = "grpc " + status
	}
	return o, nil
}

// echo sends bytes that are no protocol's and wants them back.
func (c call) echo(ctx context.Context) (string, error) {
	conn, err := c.dial(ctx)
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close() }()
	const ping = "\x00ping"
	if _, err := io.WriteString(conn, ping); err != nil {
		return "", err
	}
	got := make([]byte, len(ping))
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != ping {
		return "", err
	}
	return "echo", nil
}

// stall is where Raw stops for longer than a proxy takes to find out what a connection is.
const stall = "{stall}"

// bytes sends Raw and tells the status of each answer.
func (c call) bytes(ctx context.Context) (o outcome, err error) {
	conn, err := c.dial(ctx)
	if err != nil {
		return o, err
	}
	defer func() { _ = conn.Close() }()
	for i, part := range strings.Split(c.Raw, stall) {
		if i > 0 {
			select {
			case <-time.After(1500 * time.Millisecond):
			case <-ctx.Done():
			}
		}
		if _, err := io.WriteString(conn, part); err != nil {
			return o, err
		}
	}
	in := bufio.NewReader(conn)
	for n := 0; ; n++ {
		switch _, err := in.Peek(1); {
		case n > 0 && errors.Is(err, io.EOF):
			return o, nil
		case err != nil:
			return o, err
		}
		res, err := http.ReadResponse(in, nil)
		if err != nil {
			return o, err
		}
		_, err = io.Copy(io.Discard, res.Body)
		_ = res.Body.Close()
		o.Got = strings.TrimSpace(fmt.Sprint(o.Got, " ", res.StatusCode))
		o.ProxyStatus = res.Header.Get("Proxy-Status")
		if err != nil {
			return o, err
		}
	}
}

func (c call) dial(ctx context.Context) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", c.Addr)
	if err != nil {
		return nil, err
	}
	deadline, _ := ctx.Deadline()
	return conn, conn.SetDeadline(deadline)
}

// lifeline is how long a stream or a conversation went on.
type lifeline struct {
	Bytes int       `json:"bytes"`
	First time.Time `json:"first"`
	Last  time.Time `json:"last"` // when the last byte came
	Error string    `json:"error,omitempty"`
}

// lifelineCommand reads a response that does not end, or keeps up a conversation, until it is cut or the time is over.
func lifelineCommand(args []string) error {
	fs := flags("lifeline")
	addr := fs.String("addr", "", "host:port")
	how := fs.String("how", "tcp", "tcp, h1 or h2c")
	limit := fs.Duration("for", 10*time.Second, "how long at most")
	_ = fs.Parse(args)
	ctx, cancel := context.WithTimeout(context.Background(), *limit)
	defer cancel()
	stream, err := openLifeline(ctx, *how, *addr)
	if err != nil {
		return err
	}
	defer func() { _ = stream.Close() }()
	var l lifeline
	for buf := make([]byte, 1<<10); ; {
		n, err := stream.Read(buf)
		if n > 0 {
			l.Bytes += n
			l.Last = time.Now()
			if l.First.IsZero() {
				l.First = l.Last
			}
		}
		if err != nil {
			l.Error = err.Error()
			return printJSON(l)
		}
	}
}

func openLifeline(ctx context.Context, how, addr string) (io.ReadCloser, error) {
	if how == "tcp" {
		conn, err := call{Addr: addr}.dial(ctx)
		if err != nil {
			return nil, err
		}
		go talk(ctx, conn)
		return conn, nil
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/drops", nil)
	if err != nil {
		return nil, err
	}
	res, err := transport(how).RoundTrip(req)
	if err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("status %d", res.StatusCode)
	}
	return res.Body, nil
}

// talk writes a byte at each interval until it no longer can.
func talk(ctx context.Context, conn net.Conn) {
	tick := time.NewTicker(dropInterval)
	defer tick.Stop()
	for {
		if _, err := conn.Write([]byte{'.'}); err != nil {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

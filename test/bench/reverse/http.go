package main

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync"
	"time"
)

// serveHTTP forwards every request: on the out side to the peer over HTTP/2 and TLS, on the in side to the server.
func serveHTTP(c config, secure *tls.Config) error {
	var plain, mesh http.Protocols
	plain.SetHTTP1(c.kind == "http")
	plain.SetUnencryptedHTTP2(c.kind == "grpc")
	mesh.SetHTTP2(true)

	transport := &http.Transport{Protocols: &plain, MaxIdleConnsPerHost: 1024, IdleConnTimeout: 10 * time.Minute,
		DisableCompression: true}
	scheme := "http"
	if c.side == "out" {
		transport.Protocols, transport.TLSClientConfig, scheme = &mesh, secure, "https"
	}
	target := &url.URL{Scheme: scheme, Host: c.target}
	proxy := &httputil.ReverseProxy{
		Transport: transport, BufferPool: &buffers{}, FlushInterval: -1,
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Host = r.In.Host
		},
	}
	server := &http.Server{Handler: proxy, Protocols: &plain, ReadHeaderTimeout: 10 * time.Minute,
		HTTP2: &http.HTTP2Config{MaxConcurrentStreams: 1000}}
	listener, err := net.Listen("tcp", c.listen)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	if c.side == "out" {
		return server.Serve(listener)
	}
	server.Protocols, server.TLSConfig = &mesh, secure
	return server.ServeTLS(listener, "", "")
}

// buffers pools the 32 KiB copy buffers of ReverseProxy.
type buffers struct{ pool sync.Pool }

func (b *buffers) Get() []byte {
	if p, ok := b.pool.Get().(*[]byte); ok {
		return *p
	}
	return make([]byte, 32<<10)
}

func (b *buffers) Put(p []byte) { b.pool.Put(&p) }

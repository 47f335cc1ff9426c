// Command reverse is one hop of the ReverseProxy pair: what an experienced Go programmer writes with the standard
// library alone. HTTP through httputil.ReverseProxy with a buffer pool, HTTP/2 over mutual TLS between the two; opaque
// TCP through io.Copy.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"os"
)

type config struct {
	side, kind, listen, target string
	chain, key, roots, peer    string
}

func main() {
	var c config
	flag.StringVar(&c.side, "side", "", "in or out")
	flag.StringVar(&c.kind, "kind", "", "http, grpc or tcp")
	flag.StringVar(&c.listen, "listen", "", "address to listen on")
	flag.StringVar(&c.target, "target", "", "address to forward to")
	flag.StringVar(&c.chain, "chain", "", "certificate chain file")
	flag.StringVar(&c.key, "key", "", "private key file")
	flag.StringVar(&c.roots, "roots", "", "trust anchors file")
	flag.StringVar(&c.peer, "peer", "", "name in the server's certificate")
	flag.Parse()
	if err := run(c); err != nil {
		fmt.Fprintln(os.Stderr, "reverse:", err)
		os.Exit(1)
	}
}

func run(c config) error {
	secure, err := c.tls()
	if err != nil {
		return err
	}
	if c.kind == "tcp" {
		return serveTCP(c, secure)
	}
	return serveHTTP(c, secure)
}

// tls is the configuration of the hop between the two: TLS 1.3, both sides verified. Go picks TLS_AES_128_GCM_SHA256
// where the CPU has AES instructions, and X25519MLKEM768 first.
func (c config) tls() (*tls.Config, error) {
	cert, err := tls.LoadX509KeyPair(c.chain, c.key)
	if err != nil {
		return nil, fmt.Errorf("load certificate: %w", err)
	}
	text, err := os.ReadFile(c.roots)
	if err != nil {
		return nil, fmt.Errorf("load trust anchors: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		return nil, errors.New("load trust anchors: no certificate")
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{cert}, RootCAs: roots, ClientCAs: roots,
		ClientAuth: tls.RequireAndVerifyClientCert, ServerName: c.peer, SessionTicketsDisabled: true,
	}, nil
}

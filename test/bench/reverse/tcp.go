package main

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"sync"
)

// serveTCP relays opaque connections, each over a TLS connection of its own.
func serveTCP(c config, secure *tls.Config) error {
	listener, err := net.Listen("tcp", c.listen)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	dial := func() (net.Conn, error) { return net.Dial("tcp", c.target) }
	if c.side == "out" {
		dial = func() (net.Conn, error) { return tls.Dial("tcp", c.target, secure) }
	} else {
		listener = tls.NewListener(listener, secure)
	}
	for {
		conn, err := listener.Accept()
		if err != nil {
			return fmt.Errorf("accept: %w", err)
		}
		go relay(conn, dial)
	}
}

func relay(down net.Conn, dial func() (net.Conn, error)) {
	defer down.Close()
	up, err := dial()
	if err != nil {
		return
	}
	defer up.Close()
	var both sync.WaitGroup
	both.Go(func() { pour(up, down) })
	both.Go(func() { pour(down, up) })
	both.Wait()
}

func pour(to, from net.Conn) {
	_, _ = io.Copy(to, from) // how it ends does not matter: the peer's half is closed next
	if half, ok := to.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
}

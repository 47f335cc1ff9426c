// Command origin is the server of the benchmark: HTTP/1, gRPC echo and raw TCP in one thread, a few microseconds a
// request, so that what is measured is the proxies.
package main

import (
	"flag"
	"fmt"
	"net/netip"
	"os"
	"runtime/debug"

	"github.com/tulle-mesh/tulle/test/bench/poll"
)

func main() {
	var c config
	flag.StringVar(&c.http, "http", "", "address of the HTTP/1 server")
	flag.StringVar(&c.grpc, "grpc", "", "address of the gRPC echo server")
	flag.StringVar(&c.tcp, "tcp", "", "address of the raw TCP server")
	flag.Parse()
	if err := run(c); err != nil {
		fmt.Fprintln(os.Stderr, "origin:", err)
		os.Exit(1)
	}
}

type config struct{ http, grpc, tcp string }

func run(c config) error {
	debug.SetGCPercent(400) // steady state allocates nothing; connections come and go in the churn workloads
	loop, err := poll.New()
	if err != nil {
		return err
	}
	s := &server{loop: loop, in: make([]byte, 128<<10), zeros: make([]byte, 128<<10)}
	for _, l := range []struct {
		addr string
		open func(fd int) poll.Handler
	}{{c.http, s.openHTTP}, {c.grpc, s.openGRPC}, {c.tcp, s.openTCP}} {
		addr, err := netip.ParseAddrPort(l.addr)
		if err != nil {
			return fmt.Errorf("parse address: %w", err)
		}
		err = loop.Listen(addr, func(fd int) {
			if loop.Add(fd, l.open(fd)) != nil {
				loop.Close(fd)
			}
		})
		if err != nil {
			return err
		}
	}
	for {
		if err := loop.Wait(-1); err != nil {
			return err
		}
	}
}

// server is what all connections share; one thread uses it.
type server struct {
	loop  *poll.Loop
	in    []byte // read buffer
	zeros []byte // what bodies are made of
}

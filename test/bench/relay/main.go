// Command relay is the null proxy of the benchmark: bytes in, bytes out, no TLS, no HTTP. A chain of two of them is the
// physical floor that every real pair of proxies is compared with.
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
	listen := flag.String("listen", "", "address to listen on")
	target := flag.String("target", "", "address to forward to")
	flag.Parse()
	if err := run(*listen, *target); err != nil {
		fmt.Fprintln(os.Stderr, "relay:", err)
		os.Exit(1)
	}
}

func run(listen, target string) error {
	from, err := netip.ParseAddrPort(listen)
	if err != nil {
		return fmt.Errorf("parse -listen: %w", err)
	}
	to, err := netip.ParseAddrPort(target)
	if err != nil {
		return fmt.Errorf("parse -target: %w", err)
	}
	debug.SetGCPercent(-1) // connections are few and nothing else allocates
	loop, err := poll.New()
	if err != nil {
		return err
	}
	r := &relay{loop: loop, target: to, buf: make([]byte, 64<<10)}
	if err := loop.Listen(from, r.accept); err != nil {
		return err
	}
	for {
		if err := loop.Wait(-1); err != nil {
			return err
		}
	}
}

type relay struct {
	loop   *poll.Loop
	target netip.AddrPort
	buf    []byte // shared: one thread
}

func (r *relay) accept(fd int) {
	up, err := poll.Dial(r.target, netip.Addr{})
	a := &side{relay: r, fd: fd}
	if err != nil || r.loop.Add(fd, a) != nil {
		r.loop.Close(fd)
		return
	}
	b := &side{relay: r, fd: up, peer: a}
	a.peer = b
	if r.loop.Add(up, b) != nil {
		r.loop.Close(fd)
	}
}

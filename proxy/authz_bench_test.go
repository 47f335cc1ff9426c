package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/netip"
	"syscall"
	"testing"

	"go.uber.org/zap"

	"github.com/tulle-mesh/tulle/internal/meshtest"
	"github.com/tulle-mesh/tulle/mesh"
)

// policies are what the benchmarks compare: a port without a Server, and Servers with n routes of one rule each and n
// authorizations of theirs; the request needs the last.
func policies(client mesh.ID) map[string]mesh.PortPolicy {
	ruled := func(n int) mesh.PortPolicy {
		p := mesh.PortPolicy{Policy: mesh.Deny, Server: mesh.Ref{Kind: "Server", Name: "cart"}}
		for i := range n {
			id := client
			if i < n-1 {
				id.ServiceAccount = fmt.Sprintf("client-%d", i)
			}
			p.Routes = append(p.Routes, routed(fmt.Sprintf("route-%d", i),
				mesh.Match{Path: mesh.PrefixPath, Value: fmt.Sprintf("/api/v%d", n-1-i)},
				authorize(mesh.NamedClients, id)))
			p.Authorizations = append(p.Authorizations,
				authorize(mesh.NamedClients, mesh.ID{TrustDomain: "cluster.local", Namespace: "a",
					ServiceAccount: id.ServiceAccount}))
		}
		return p
	}
	return map[string]mesh.PortPolicy{
		"none": {Policy: mesh.AllUnauthenticated}, "1 rule": ruled(1), "200 rules": ruled(200),
	}
}

// BenchmarkAuthorizedRequest is a request through a client's proxy, mutual TLS and the server's proxy, 16 in flight on
// one connection. It reports the processor time of all that, the client and the application included, and must not
// allocate more with a policy than without.
func BenchmarkAuthorizedRequest(b *testing.B) {
	for _, name := range []string{"none", "1 rule", "200 rules"} {
		b.Run(name, func(b *testing.B) {
			ca := meshtest.NewCA(b)
			app := benchApp(b)
			server := startQuiet(b, Config{Local: &Local{
				Certs:   ca.Certs(cart),
				Inbound: []LocalInbound{{Listen: anyPort, AppAddr: netip.MustParseAddrPort(app), Policy: policies(web)[name]}},
			}})
			client := startQuiet(b, Config{Local: &Local{Certs: ca.Certs(web),
				Outbound: []LocalOutbound{{Listen: anyPort, Value: mesh.Outbound{
					Kind:      mesh.ToService,
					Endpoints: []mesh.Endpoint{{Addr: server.Addresses().Local.Inbound[0], Identity: cart}},
				}}}}})
			c, err := net.Dial("tcp", client.Addresses().Local.Outbound[0].String())
			if err != nil {
				b.Fatal(err)
			}
			defer c.Close()
			benchRequests(b, c)
		})
	}
}

const benchBatch = 16

// benchRequests sends pipelined requests in batches and reads their answers.
func benchRequests(b *testing.B, c net.Conn) {
	request := "GET /api/v0/carts/4711?expand=items HTTP/1.1\r\nHost: cart.shop\r\nUser-Agent: bench\r\nAccept: " +
		"*/*\r\n\r\n"
	var batch []byte
	for range benchBatch {
		batch = append(batch, request...)
	}
	r := bufio.NewReader(c)
	round := func() {
		if _, err := c.Write(batch); err != nil {
			b.Fatal(err)
		}
		for range benchBatch {
			status, err := r.ReadSlice('\n')
			if err != nil || string(status) != "HTTP/1.1 200 OK\r\n" {
				b.Fatal(string(status), err)
			}
			for line := status; len(line) > 2; {
				if line, err = r.ReadSlice('\n'); err != nil {
					b.Fatal(err)
				}
			}
			if _, err := r.Discard(2); err != nil {
				b.Fatal(err)
			}
		}
	}
	for range 50 {
		round()
	}
	b.ReportAllocs()
	before := cpu(b)
	requests := 0
	for b.Loop() {
		round()
		requests += benchBatch
	}
	b.ReportMetric(float64(cpu(b)-before)/float64(requests), "cpu-ns/req")
}

func cpu(b *testing.B) int64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return u.Utime.Nano() + u.Stime.Nano()
}

// benchApp answers every request in the same two bytes, as fast as it can.
func benchApp(b *testing.B) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		r, w := bufio.NewReader(c), bufio.NewWriter(c)
		for {
			line, err := r.ReadSlice('\n')
			if err != nil {
				return
			}
			if len(line) > 2 {
				continue
			}
			_, _ = io.WriteString(w, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
			if r.Buffered() == 0 {
				_ = w.Flush()
			}
		}
	}()
	b.Cleanup(func() { _ = l.Close(); <-done })
	return l.Addr().String()
}

// startQuiet runs a proxy without a log.
func startQuiet(b *testing.B, cfg Config) *Proxy {
	b.Helper()
	cfg.Log, cfg.Level = zap.NewNop(), zap.NewAtomicLevel()
	p, err := New(cfg)
	if err != nil {
		b.Fatal(err)
	}
	run(b, p)
	return p
}

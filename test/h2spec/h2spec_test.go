// Package h2spec runs the HTTP/2 conformance suite of the same name (RFC 7540 and 7541) against both HTTP/2 faces of a
// proxy: the one that applications speak to, and the one that other proxies speak to through mesh TLS.
package h2spec

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/summerwind/h2spec/config"
	"github.com/summerwind/h2spec/generic"
	"github.com/summerwind/h2spec/hpack"
	"github.com/summerwind/h2spec/http2"
	"github.com/summerwind/h2spec/spec"
	"go.uber.org/zap"

	"github.com/tulle-mesh/tulle/identity/workload"
	"github.com/tulle-mesh/tulle/internal/meshtest"
	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/proxy"
)

var (
	server = mesh.ID{TrustDomain: "cluster.local", Namespace: "test", ServiceAccount: "server"}
	client = mesh.ID{TrustDomain: "cluster.local", Namespace: "test", ServiceAccount: "client"}
)

func TestApplicationFace(t *testing.T) {
	app := startApplication(t)
	local := startProxy(t, &proxy.Local{Outbound: []proxy.LocalOutbound{{
		Listen: loopback(0),
		Value: mesh.Outbound{Kind: mesh.ToService, Protocol: mesh.HTTP2,
			Endpoints: []mesh.Endpoint{{Addr: app, Protocol: mesh.HTTP2}}},
	}}})
	conform(t, local.Local.Outbound[0])
}

func TestProxyFace(t *testing.T) {
	app := startApplication(t)
	ca := meshtest.NewCA(t)
	local := startProxy(t, &proxy.Local{
		Certs: ca.Certs(server),
		Inbound: []proxy.LocalInbound{{
			Listen: loopback(0), AppAddr: app, Policy: mesh.PortPolicy{Protocol: mesh.HTTP2, Policy: mesh.AllAuthenticated},
		}},
	})
	conform(t, startTLSFront(t, local.Local.Inbound[0], ca.Certs(client)))
}

func loopback(port uint16) netip.AddrPort {
	return netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port)
}

// startApplication serves HTTP/2 with prior knowledge; its answer is large enough for the tests of flow control.
func startApplication(t *testing.T) netip.AddrPort {
	t.Helper()
	lis := listen(t)
	srv := &http.Server{Protocols: new(http.Protocols),
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			_, _ = io.WriteString(w, strings.Repeat("x", 1024))
		})}
	srv.Protocols.SetUnencryptedHTTP2(true)
	go func() { _ = srv.Serve(lis) }()
	t.Cleanup(func() { _ = srv.Close() })
	return lis.Addr().(*net.TCPAddr).AddrPort()
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return lis
}

func startProxy(t *testing.T, local *proxy.Local) proxy.Addresses {
	t.Helper()
	p, err := proxy.New(proxy.Config{Local: local, Version: "test", Log: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() {
		defer close(ended)
		if err := p.Run(ctx); err != nil {
			ended <- err
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	select {
	case <-p.Running():
		return p.Addresses()
	case err := <-ended:
		t.Fatalf("the proxy ended: %v", err)
		return proxy.Addresses{}
	}
}

// startTLSFront accepts plaintext and carries it to the proxy through mesh TLS, because the suite cannot speak the
// mesh's ALPN.
func startTLSFront(t *testing.T, to netip.AddrPort, manager *workload.Manager) netip.AddrPort {
	t.Helper()
	lis := listen(t)
	t.Cleanup(func() { _ = lis.Close() })
	go func() {
		for {
			down, err := lis.Accept()
			if err != nil {
				return
			}
			go carry(down.(*net.TCPConn), to, manager.ClientTLS(server, mesh.ALPNMux))
		}
	}()
	return lis.Addr().(*net.TCPAddr).AddrPort()
}

func carry(down *net.TCPConn, to netip.AddrPort, cfg *tls.Config) {
	defer func() { _ = down.Close() }()
	up, err := tls.Dial("tcp", to.String(), cfg)
	if err != nil {
		return
	}
	go func() {
		_, _ = io.Copy(up, down)
		_ = up.CloseWrite()
	}()
	_, _ = io.Copy(down, up)
	_ = up.Close()
}

// conform runs the whole suite, strict cases included, and compares what fails with the committed list of deviations.
func conform(t *testing.T, addr netip.AddrPort) {
	t.Helper()
	cfg := &config.Config{
		Host: addr.Addr().String(), Port: int(addr.Port()), Path: "/", Timeout: 2 * time.Second, MaxHeaderLen: 4000,
		Strict: true,
	}
	justified := deviations(t)
	total := 0
	for _, group := range []*spec.TestGroup{generic.Spec(), http2.Spec(), hpack.Spec()} {
		group.Test(cfg)
		total += group.PassedCount + group.FailedCount
		walk(group, func(c *spec.TestCase) {
			switch id := fmt.Sprintf("%s/%d", c.Parent.ID(), c.Result.Sequence); {
			case c.Result.Failed && justified[id] == "":
				t.Errorf("%s fails: %s (%s): %v", id, c.Desc, c.Requirement, c.Result.Error)
			case !c.Result.Failed && !c.Result.Skipped && justified[id] != "":
				t.Logf("%s passes although deviations.txt lists it", id)
			}
		})
	}
	if total < 140 {
		t.Errorf("the suite ran %d cases, want at least 140", total)
	}
}

func walk(group *spec.TestGroup, visit func(*spec.TestCase)) {
	for _, c := range append(group.Tests, group.StrictTests...) {
		if c.Result != nil {
			visit(c)
		}
	}
	for _, g := range group.Groups {
		walk(g, visit)
	}
}

// deviations reads deviations.txt: an ID, a space, the reason.
func deviations(t *testing.T) map[string]string {
	t.Helper()
	f, err := os.Open("deviations.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	known := map[string]string{}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		id, reason, ok := strings.Cut(lines.Text(), " ")
		if strings.HasPrefix(lines.Text(), "#") {
			continue
		}
		if !ok || reason == "" {
			t.Fatalf("deviations.txt: %q has no reason", lines.Text())
		}
		known[id] = reason
	}
	return known
}

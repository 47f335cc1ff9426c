package proxy

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"

	"github.com/tulle-mesh/tulle/internal/meshtest"
	"github.com/tulle-mesh/tulle/mesh"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	web  = mesh.ID{TrustDomain: "cluster.local", Namespace: "shop", ServiceAccount: "web"}
	cart = mesh.ID{TrustDomain: "cluster.local", Namespace: "shop", ServiceAccount: "cart"}
	evil = mesh.ID{TrustDomain: "cluster.local", Namespace: "evil", ServiceAccount: "cart"}

	anyPort = netip.MustParseAddrPort("127.0.0.1:0")
)

// start runs a proxy until the test ends.
func start(t *testing.T, cfg Config) *Proxy {
	t.Helper()
	p := newProxy(t, cfg)
	run(t, p)
	return p
}

func newProxy(t *testing.T, cfg Config) *Proxy {
	t.Helper()
	if cfg.Level = zap.NewAtomicLevel(); cfg.Log == nil {
		cfg.Log = zaptest.NewLogger(t, zaptest.Level(zap.InfoLevel))
	}
	if cfg.Settings.ShutdownGrace == 0 {
		cfg.Settings.ShutdownGrace = mesh.Duration(100 * time.Millisecond)
	}
	p, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// run runs p until the test ends; the channel is closed when it ended.
func run(t testing.TB, p *Proxy) (ended <-chan struct{}) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := p.Run(ctx); err != nil {
			t.Errorf("run: %v", err)
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
	select {
	case <-p.Running():
	case <-done:
		t.Fatal("the proxy does not run")
	}
	return done
}

// pair runs a client's and a server's proxy in front of app, and returns the client's address for the application.
type pair struct {
	client, server *Proxy
	addr           string
}

type pairConfig struct {
	app      string
	protocol mesh.Protocol // declared on both sides
	policy   mesh.PortPolicy
	serverID mesh.ID // of the server's certificate; cart if zero
	plain    bool    // the client does not know the server as meshed
}

func startPair(t *testing.T, c pairConfig) *pair {
	t.Helper()
	ca := meshtest.NewCA(t)
	if c.policy.Policy == "" {
		c.policy.Policy = mesh.AllUnauthenticated
	}
	if c.serverID.IsZero() {
		c.serverID = cart
	}
	c.policy.Protocol = c.protocol
	server := start(t, Config{Local: &Local{
		Certs:   ca.Certs(c.serverID),
		Inbound: []LocalInbound{{Listen: anyPort, AppAddr: netip.MustParseAddrPort(c.app), Policy: c.policy}},
	}})
	endpoint := mesh.Endpoint{Addr: server.Addresses().Local.Inbound[0], Identity: cart}
	if c.plain {
		endpoint.Identity = mesh.ID{}
	}
	client := start(t, Config{Local: &Local{
		Certs: ca.Certs(web),
		Outbound: []LocalOutbound{{Listen: anyPort, Value: mesh.Outbound{
			Kind: mesh.ToService, Authority: "cart.shop.svc.cluster.local:80", Protocol: c.protocol,
			Endpoints: []mesh.Endpoint{endpoint},
		}}},
	}})
	return &pair{client: client, server: server, addr: client.Addresses().Local.Outbound[0].String()}
}

// listen serves connections with serve until the test ends.
func listen(t *testing.T, serve func(*net.TCPConn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { defer c.Close(); serve(c.(*net.TCPConn)) })
		}
	})
	t.Cleanup(func() { l.Close(); wg.Wait() })
	return l.Addr().String()
}

func dial(t *testing.T, addr string) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return c.(*net.TCPConn)
}

// ask sends text on a new connection and returns all that comes back. A reset may strike as early as while connecting.
func ask(addr, text string) (string, error) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return "", err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		return "", err
	}
	if _, err := io.WriteString(c, text); err != nil {
		return "", err
	}
	got, err := io.ReadAll(c)
	return string(got), err
}

func isReset(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// echo sends back what it gets, and the end too.
func echo(c *net.TCPConn) {
	_, _ = io.Copy(c, c)
	_ = c.CloseWrite()
}

func TestRelayBothWaysWithHalfClose(t *testing.T) {
	for name, plain := range map[string]bool{"mutual TLS": false, "plaintext": true} {
		t.Run(name, func(t *testing.T) {
			p := startPair(t, pairConfig{app: listen(t, echo), protocol: mesh.Opaque, plain: plain})
			c := dial(t, p.addr)
			sent := make([]byte, 8<<20)
			_, _ = rand.Read(sent)
			go func() {
				_, _ = c.Write(sent)
				_ = c.CloseWrite()
			}()
			got, err := io.ReadAll(c)
			if err != nil || !bytes.Equal(got, sent) {
				t.Fatalf("got %d bytes, %v; want the %d that were sent", len(got), err, len(sent))
			}
		})
	}
}

func TestServerThatSpeaksFirst(t *testing.T) {
	p := startPair(t, pairConfig{app: listen(t, func(c *net.TCPConn) { _, _ = io.WriteString(c, "220 hello\r\n") })})
	got, err := io.ReadAll(dial(t, p.addr))
	if string(got) != "220 hello\r\n" || err != nil {
		t.Fatalf("got %q, %v", got, err)
	}
}

func TestResetIsPassedOn(t *testing.T) {
	p := startPair(t, pairConfig{protocol: mesh.Opaque, app: listen(t, func(c *net.TCPConn) {
		_, _ = io.ReadFull(c, make([]byte, 4))
		_ = c.SetLinger(0)
	})})
	if _, err := ask(p.addr, "ping"); !isReset(err) {
		t.Fatalf("got %v, want a reset: a cut-off stream must not look whole", err)
	}
}

func TestWrongIdentityFailsClosed(t *testing.T) {
	p := startPair(t, pairConfig{app: listen(t, echo), protocol: mesh.Opaque, serverID: evil})
	if got, err := ask(p.addr, "secret"); len(got) != 0 || !isReset(err) {
		t.Fatalf("got %q, %v; want a reset", got, err)
	}
}

func TestPlaintextServerFailsClosed(t *testing.T) {
	seen := make(chan string, 16)
	addr := listen(t, func(c *net.TCPConn) {
		b := make([]byte, 64<<10)
		n, _ := c.Read(b)
		seen <- string(b[:n])
	})
	client := start(t, Config{Local: &Local{
		Certs: meshtest.NewCA(t).Certs(web),
		Outbound: []LocalOutbound{{Listen: anyPort, Value: mesh.Outbound{
			Kind: mesh.ToService, Protocol: mesh.Opaque,
			Endpoints: []mesh.Endpoint{{Addr: netip.MustParseAddrPort(addr), Identity: cart}},
		}}},
	}})
	if _, err := ask(client.Addresses().Local.Outbound[0].String(), "secret"); !isReset(err) {
		t.Fatalf("got %v, want a reset", err)
	}
	if bytes.Contains([]byte(<-seen), []byte("secret")) {
		t.Fatal("plaintext reached a server that must be meshed")
	}
}

func TestPolicyDeniesUnmeshedConnection(t *testing.T) {
	policy := mesh.PortPolicy{Policy: mesh.AllAuthenticated}
	p := startPair(t, pairConfig{app: listen(t, echo), protocol: mesh.Opaque, policy: policy, plain: true})
	if _, err := ask(p.addr, "ping"); !isReset(err) {
		t.Fatalf("got %v, want a reset", err)
	}
}

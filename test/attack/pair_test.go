package attack

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/test/bench/lab"
)

// Addresses in the sandbox. The pod of the server and the attacker have addresses that are not of the loopback network:
// the proxy treats the local application differently from peers.
var (
	podAddr      = netip.MustParseAddr("10.99.0.2")
	attackerAddr = netip.MustParseAddr("10.99.0.66")
	clientAddr   = netip.MustParseAddr("10.99.0.3")

	outbound = netip.MustParseAddrPort("127.0.0.1:4140") // to the server's proxy
	outEvil  = netip.MustParseAddrPort("127.0.0.1:4141") // to the attacker's server, which is not meshed
	inbound  = netip.AddrPortFrom(podAddr, 4143)
	app      = netip.AddrPortFrom(podAddr, 8080)
	evil     = netip.AddrPortFrom(attackerAddr, 8080)
	outAdmin = netip.MustParseAddrPort("127.0.0.1:4191")
	inAdmin  = netip.AddrPortFrom(podAddr, 4191)
)

// pair is a client's proxy and a server's proxy with the application behind it.
type pair struct {
	out, in *lab.Process
	pki     *lab.PKI
	cert    tls.Certificate // the attacker's, as a meshed peer
}

// startPair starts both proxies and the application, and waits until a request goes through.
func startPair(t *testing.T) *pair {
	t.Helper()
	dir := t.TempDir()
	pki, err := lab.NewPKI(dir, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	p := &pair{pki: pki}
	if p.cert, err = tls.LoadX509KeyPair(pki.Client.Chain, pki.Client.Key); err != nil {
		t.Fatal(err)
	}
	serveApplication(t)
	p.in = startProxy(t, dir, "in", map[string]any{
		"certificate": pki.Server.Chain, "key": pki.Server.Key, "anchors": pki.Roots, "admin": inAdmin,
		"inbound": []any{map[string]any{"listen": inbound, "app": app, "policy": "all-unauthenticated"}},
	})
	p.out = startProxy(t, dir, "out", map[string]any{
		"certificate": pki.Client.Chain, "key": pki.Client.Key, "anchors": pki.Roots, "admin": outAdmin,
		"outbound": []any{
			map[string]any{"listen": outbound, "authority": "app.attack.svc.cluster.local:80",
				"endpoints": []any{map[string]any{"addr": inbound, "identity": pki.Server.SPIFFE}}},
			map[string]any{"listen": outEvil, "authority": "evil.attack.svc.cluster.local:80",
				"endpoints": []any{map[string]any{"addr": evil}}},
		},
	})
	waitFor(t, "http://"+outbound.String()+"/")
	return p
}

func startProxy(t *testing.T, dir, name string, config map[string]any) *lab.Process {
	t.Helper()
	text, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, name+".json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	process, err := lab.Command{Name: "tulle-" + name, Path: proxyPath,
		Args: []string{"--local", file}}.Start(context.Background(), dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(process.Stop)
	return process
}

// serveApplication is the server behind the proxy: HTTP/1 and HTTP/2 without TLS.
func serveApplication(t *testing.T) {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("hello")) })
	mux.HandleFunc("/upload", func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) })
	large := make([]byte, 1<<20)
	mux.HandleFunc("/large", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(large) })
	server := &http.Server{Handler: mux, Protocols: new(http.Protocols)}
	server.Protocols.SetHTTP1(true)
	server.Protocols.SetUnencryptedHTTP2(true)
	l, err := net.Listen("tcp", app.String())
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = server.Serve(l) }() // until Close
	t.Cleanup(func() { _ = server.Close() })
}

// waitFor returns when a GET of url is answered with 200.
func waitFor(t *testing.T, url string) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for {
		response, err := http.Get(url)
		if err == nil {
			_ = response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return
			}
			err = fmt.Errorf("status %d", response.StatusCode)
		}
		if time.Now().After(deadline) {
			t.Fatalf("GET %s: %v", url, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// dialAttack connects from the attacker's address.
func dialAttack(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	d := net.Dialer{Timeout: 5 * time.Second}
	if !to.Addr().IsLoopback() {
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(attackerAddr, 0))
	}
	return d.DialContext(ctx, "tcp", to.String())
}

// dialMesh connects to the server's proxy as a meshed peer, with a valid certificate.
func (p *pair) dialMesh(ctx context.Context) (net.Conn, error) {
	c, err := dialAttack(ctx, inbound)
	if err != nil {
		return nil, err
	}
	secured := p.tlsClient(c)
	if err := secured.HandshakeContext(ctx); err != nil {
		_ = c.Close()
		return nil, err
	}
	return secured, nil
}

// tlsClient is the client's half of mesh TLS on c.
func (p *pair) tlsClient(c net.Conn) *tls.Conn {
	return tls.Client(c, &tls.Config{Certificates: []tls.Certificate{p.cert}, NextProtos: []string{"tulle.dev/h2"},
		InsecureSkipVerify: true, ServerName: p.pki.Server.Name, MinVersion: tls.VersionTLS13})
}

// memory is RssAnon of both proxies.
func (p *pair) memory() int64 { return p.in.Memory().Anonymous + p.out.Memory().Anonymous }

// ip runs an ip command of iproute2 in the sandbox.
func ip(args ...string) error {
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("ip %v: %w: %s", args, err, out)
	}
	return nil
}

package proxy

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/internal/meshtest"
	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/proxy/env"
)

// pod is a proxy with a control plane. Instead of the kernel, the test says what the original destinations are.
type pod struct {
	*Proxy
	ca       *meshtest.CA
	ended    <-chan struct{}
	plane    *meshtest.ControlPlane
	outbound atomic.Pointer[netip.AddrPort] // where the application's connections go
	inbound  atomic.Pointer[netip.AddrPort] // where peers' connections go
}

func startPod(t *testing.T, edit func(*Config)) *pod {
	t.Helper()
	ca := meshtest.NewCA(t)
	pd := &pod{ca: ca, plane: meshtest.NewControlPlane(t, ca)}
	pd.plane.SetInbound(&mesh.Inbound{
		ClusterNetworks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")},
		Default:         mesh.PortPolicy{Policy: mesh.AllUnauthenticated},
	})
	cfg := Config{
		Settings: mesh.ProxyConfig{
			TrustDomain: mesh.DefaultTrustDomain, ControlPlaneNamespace: mesh.ControlPlaneNamespace,
			DestinationAddr: pd.plane.Addr(), DefaultInboundPolicy: mesh.Deny,
		},
		Pod: Pod{Name: "web-1", Namespace: "shop", ServiceAccount: "web",
			IPs: []netip.Addr{netip.MustParseAddr("127.0.0.1")}},
		Certs: ca.Certs(web),
		OrigDst: func(c *net.TCPConn) (netip.AddrPort, error) {
			if env.Unmap(c.LocalAddr().(*net.TCPAddr).AddrPort()) == pd.Addresses().Outbound {
				return *pd.outbound.Load(), nil
			}
			return *pd.inbound.Load(), nil
		},
	}
	if edit != nil {
		edit(&cfg)
	}
	pd.Proxy = newProxy(t, cfg)
	pd.env.Times.FailFast, pd.env.Times.Discovery = time.Second, 2*time.Second
	pd.ended = run(t, pd.Proxy)
	return pd
}

func (pd *pod) outboundTo(addr string) (entrance string) {
	a := netip.MustParseAddrPort(addr)
	pd.outbound.Store(&a)
	return pd.Addresses().Outbound.String()
}

func (pd *pod) inboundTo(addr string) (entrance string) {
	a := netip.MustParseAddrPort(addr)
	pd.inbound.Store(&a)
	return netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), pd.Addresses().Inbound.Port()).String()
}

// awaitPolicy returns once the inbound policy came and is active.
func (pd *pod) awaitPolicy(t *testing.T, want func(netip.AddrPort) bool, app string) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !want(netip.MustParseAddrPort(app)) {
		if time.Now().After(deadline) {
			t.Fatal("policy did not come into force")
		}
		_, seq := pd.source.Inbound().Load()
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
		_, _, _ = pd.source.Inbound().Wait(ctx, seq)
		cancel()
	}
}

// serverIs reports whether the active Server is the one of that name.
func (pd *pod) serverIs(server string) func(netip.AddrPort) bool {
	return func(a netip.AddrPort) bool {
		return pd.Proxy.inbound.Policy().Port(a.Port()).Server().Name == server
	}
}

func (pd *pod) target(addr string) mesh.Target {
	return mesh.Target{Addr: netip.MustParseAddrPort(addr)}
}

func toService(endpoints ...string) *mesh.Outbound {
	o := &mesh.Outbound{Kind: mesh.ToService, Authority: "cart.shop.svc.cluster.local:80", Protocol: mesh.Opaque}
	for _, e := range endpoints {
		o.Endpoints = append(o.Endpoints, mesh.Endpoint{Addr: netip.MustParseAddrPort(e)})
	}
	return o
}

// greet answers a connection with a name and ends it.
func greet(name string) func(*net.TCPConn) {
	return func(c *net.TCPConn) { _, _ = io.WriteString(c, name) }
}

const clusterIP = "10.96.0.10:80"

func TestServiceIsServedByItsEndpoints(t *testing.T) {
	pd := startPod(t, nil)
	pd.plane.SetOutbound(pd.target(clusterIP), toService(listen(t, greet("a")), listen(t, greet("b"))))
	entrance := pd.outboundTo(clusterIP)
	seen := map[string]bool{}
	for range 200 {
		got, err := ask(entrance, "")
		if err != nil {
			t.Fatal(err)
		}
		if seen[got] = true; len(seen) == 2 {
			return
		}
	}
	t.Fatalf("200 connections reached %v only", seen)
}

func TestUnreachableEndpointIsNotTheClientsProblem(t *testing.T) {
	pd := startPod(t, nil)
	dead, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead.Close()
	pd.plane.SetOutbound(pd.target(clusterIP), toService(dead.Addr().String(), listen(t, greet("a"))))
	entrance := pd.outboundTo(clusterIP)
	for i := range 50 {
		if got, err := ask(entrance, ""); got != "a" || err != nil {
			t.Fatalf("connection %d: got %q, %v", i, got, err)
		}
	}
}

func TestServiceWithoutEndpointsFailsFast(t *testing.T) {
	pd := startPod(t, nil)
	pd.plane.SetOutbound(pd.target(clusterIP), toService())
	if got, err := ask(pd.outboundTo(clusterIP), "x"); !isReset(err) {
		t.Fatalf("got %q, %v; want a reset", got, err)
	}
}

func TestConnectionWaitsForTheFirstEndpoint(t *testing.T) {
	pd := startPod(t, nil)
	pd.env.Times.FailFast = 10 * time.Second
	app := listen(t, greet("late"))
	pd.plane.SetOutbound(pd.target(clusterIP), toService())
	c := dial(t, pd.outboundTo(clusterIP))
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := pd.plane.AwaitWatches(ctx, pd.target(clusterIP), 1); err != nil {
		t.Fatal(err)
	}
	pd.plane.SetOutbound(pd.target(clusterIP), toService(app))
	if got, err := io.ReadAll(c); string(got) != "late" || err != nil {
		t.Fatalf("got %q, %v", got, err)
	}
}

func TestUndefinedPortIsRefused(t *testing.T) {
	pd := startPod(t, nil)
	pd.plane.SetOutbound(pd.target(clusterIP), &mesh.Outbound{Kind: mesh.UndefinedPort})
	if got, err := ask(pd.outboundTo(clusterIP), "x"); !isReset(err) {
		t.Fatalf("got %q, %v; want a reset", got, err)
	}
}

func TestAddressOutsideTheMeshIsForwarded(t *testing.T) {
	pd := startPod(t, nil)
	app := listen(t, greet("outside"))
	pd.plane.SetOutbound(pd.target(app), &mesh.Outbound{Kind: mesh.Unknown})
	if got, err := ask(pd.outboundTo(app), ""); got != "outside" || err != nil {
		t.Fatalf("got %q, %v", got, err)
	}
}

func TestControlPlaneAway(t *testing.T) {
	pd := startPod(t, nil)
	pd.plane.SetOutbound(pd.target(clusterIP), toService(listen(t, greet("known"))))
	entrance := pd.outboundTo(clusterIP)
	if got, err := ask(entrance, ""); got != "known" || err != nil {
		t.Fatalf("got %q, %v", got, err)
	}
	pd.plane.Stop()
	if got, err := ask(entrance, ""); got != "known" || err != nil {
		t.Errorf("known target: got %q, %v", got, err)
	}
	if got, err := ask(pd.outboundTo("10.96.0.11:80"), "x"); !isReset(err) {
		t.Errorf("unknown address in the cluster: got %q, %v; want a reset: nothing says that plaintext is right", got, err)
	}
	if text := pd.scrape(t); !strings.Contains(text,
		`outbound_tcp_errors_total{direction="outbound",error="discovery_unavailable"} 1`) {
		t.Error("the reset is not counted")
	}
	if got, err := ask(pd.outboundTo(listen(t, greet("outside"))), ""); got != "outside" || err != nil {
		t.Errorf("address outside the cluster: got %q, %v", got, err)
	}
}

func TestLoopsAreRefused(t *testing.T) {
	pd := startPod(t, nil)
	for name, port := range map[string]uint16{"outbound": pd.Addresses().Outbound.Port(),
		"inbound": pd.Addresses().Inbound.Port()} {
		self := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port).String()
		if _, err := ask(pd.outboundTo(self), "x"); !isReset(err) {
			t.Errorf("outbound to own %s listener: %v, want a reset", name, err)
		}
		if _, err := ask(pd.inboundTo(self), "x"); !isReset(err) {
			t.Errorf("inbound to own %s listener: %v, want a reset", name, err)
		}
	}
}

func TestOwnPortPresentsTheCertificateAndServesNothing(t *testing.T) {
	pd := startPod(t, nil)
	entrance := pd.inboundTo(netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), pd.Addresses().Inbound.Port()).String())
	var seen *x509.Certificate
	conn := tls.Client(dial(t, entrance), &tls.Config{
		MinVersion: tls.VersionTLS13, NextProtos: []string{mesh.ALPNMux}, InsecureSkipVerify: true,
		VerifyConnection: func(s tls.ConnectionState) error { seen = s.PeerCertificates[0]; return nil },
	})
	// the handshake ends on this side before the proxy refuses the missing certificate
	_, err := conn.Read(make([]byte, 1))
	if err == nil || seen == nil || len(seen.URIs) != 1 || seen.URIs[0].String() != web.String() {
		t.Errorf("read: %v after certificate %v; want an error after the one of %v", err, seen, web)
	}
}

func TestOwnPodIsReachedInPlaintext(t *testing.T) {
	pd := startPod(t, nil)
	app := listen(t, greet("me"))
	o := toService(app)
	o.Endpoints[0].Identity = web
	pd.plane.SetOutbound(pd.target(clusterIP), o)
	if got, err := ask(pd.outboundTo(clusterIP), ""); got != "me" || err != nil {
		t.Fatalf("got %q, %v", got, err)
	}
	if text := pd.scrape(t); !strings.Contains(text, `tls="loopback"`) {
		t.Error("no series with tls=\"loopback\"")
	}
}

func TestDefaultPolicyHoldsUntilDiscoveryAnswers(t *testing.T) {
	app := listen(t, echo)
	pd := startPod(t, func(c *Config) { c.Settings.DestinationAddr = "127.0.0.1:1" })
	if got, err := ask(pd.inboundTo(app), "x"); !isReset(err) {
		t.Fatalf("got %q, %v; want a reset", got, err)
	}
	if status, body := pd.get(t, "/ready"); status != http.StatusServiceUnavailable || body != "not ready\n" {
		t.Errorf("ready: %d %q", status, body)
	}
	if status, body := pd.get(t, "/live"); status != http.StatusOK || body != "live\n" {
		t.Errorf("live: %d %q", status, body)
	}
}

func TestOpenConnectionLosesItsRight(t *testing.T) {
	pd := startPod(t, nil)
	app := listen(t, echo)
	pd.awaitPolicy(t, func(a netip.AddrPort) bool {
		return pd.Proxy.inbound.Policy().Port(a.Port()).Server().Name == string(mesh.AllUnauthenticated)
	}, app)
	c := dial(t, pd.inboundTo(app))
	if _, err := io.WriteString(c, "\x00ping"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
	pd.plane.SetInbound(&mesh.Inbound{Default: mesh.PortPolicy{Policy: mesh.Deny}})
	// a second, on a machine that has one to spare
	if err := c.SetReadDeadline(time.Now().Add(3 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(c); !isReset(err) {
		t.Fatalf("got %v, want a reset soon", err)
	}
	if text := pd.scrape(t); !strings.Contains(text, `srv_kind="default",srv_name="deny",srv_port="`+
		app[strings.LastIndex(app, ":")+1:]+`",reason="denied"} 1`) {
		t.Error("the cut was not counted")
	}
}

func (pd *pod) get(t *testing.T, path string) (status int, body string) {
	t.Helper()
	return pd.request(t, http.MethodGet, path, "localhost")
}

func (pd *pod) request(t *testing.T, method, path, host string) (status int, body string) {
	t.Helper()
	url := "http://" + netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), pd.Addresses().Admin.Port()).String() + path
	req, err := http.NewRequest(method, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Host, req.Close = host, true
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(text)
}

func (pd *pod) scrape(t *testing.T) string {
	t.Helper()
	status, text := pd.get(t, "/metrics")
	if status != http.StatusOK {
		t.Fatalf("metrics: %d %s", status, text)
	}
	return text
}

func TestAdminIsForThePodAlone(t *testing.T) {
	pd := startPod(t, nil)
	for _, tc := range []struct {
		method, path, host string
		want               int
	}{
		{"GET", "/metrics", "10.1.2.3:4191", 200},
		{"GET", "/proxy-log-level", "localhost:4191", 200},
		{"GET", "/proxy-log-level", "rebound.example", 403},
		{"GET", "/env.json", "127.0.0.1:4191", 200},
		{"GET", "/env.json", "10.1.2.3:4191", 403},
		{"POST", "/shutdown", "localhost", 404}, // not enabled
		{"POST", "/shutdown", "10.1.2.3", 403},
		{"GET", "/shutdown", "localhost", 405},
		{"GET", "/debug/pprof/heap", "localhost", 404}, // not enabled
		{"GET", "/", "localhost", 404},
	} {
		if got, body := pd.request(t, tc.method, tc.path, tc.host); got != tc.want {
			t.Errorf("%s %s of %s: got %d %q, want %d", tc.method, tc.path, tc.host, got, body, tc.want)
		} else if got == 403 && body != "Requests are only permitted from localhost.\n" {
			t.Errorf("%s %s of %s: body %q", tc.method, tc.path, tc.host, body)
		}
	}
}

// TestAdminFloodKeepsNobodyOut: many addresses fill the admin port, each up to its bound, and a probe is answered.
func TestAdminFloodKeepsNobodyOut(t *testing.T) {
	pd := startPod(t, nil)
	target := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), pd.Addresses().Admin.Port()).String()
	const addresses = 6
	flood := func(answered bool) {
		for i := range addresses * adminConnections.PerAddress {
			d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(1+i%addresses))}}
			c, err := d.Dial("tcp", target)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { c.Close() })
			if answered { // and then idle
				_, _ = io.WriteString(c, "GET /live HTTP/1.1\r\nhost: a\r\n\r\n")
			}
		}
	}
	for _, answered := range []bool{false, true} {
		flood(answered)
		for range 10 {
			if status, body := pd.get(t, "/live"); status != http.StatusOK {
				t.Errorf("got %d %q", status, body)
			}
		}
	}
	least := 2*addresses*adminConnections.PerAddress - adminConnections.Total
	if got := int(pd.admin.refused.Load()); got < least {
		t.Errorf("%d counted, want %d at least", got, least)
	}
	if text := pd.scrape(t); !strings.Contains(text, "tulle_admin_connections_refused_total ") {
		t.Error("no series of the refused connections")
	}
}

func TestShutdownEndpoint(t *testing.T) {
	pd := startPod(t, func(c *Config) { c.Settings.AdminShutdown = true })
	if status, _ := pd.request(t, http.MethodPost, "/shutdown", "localhost"); status != http.StatusOK {
		t.Fatalf("got %d", status)
	}
	<-pd.ended
}

func TestPortOfTheProxyOnAnUnknownAddressIsALoop(t *testing.T) {
	pd := startPod(t, nil)
	own := netip.AddrPortFrom(netip.MustParseAddr("10.1.2.3"), pd.Addresses().Inbound.Port())
	if _, err := ask(pd.inboundTo(own.String()), "x"); !isReset(err) {
		t.Errorf("got %v, want a reset", err)
	}
	if text := pd.scrape(t); !strings.Contains(text, `inbound_tcp_errors_total{direction="inbound",error="loop"} 1`) {
		t.Error("not counted as a loop")
	}
}

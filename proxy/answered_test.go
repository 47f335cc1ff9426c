package proxy

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"path"
	"strings"
	"testing"

	"github.com/tulle-mesh/tulle/mesh"
)

// declare makes the pod's containers declare the port of app, and waits until the proxy knows.
func (pd *pod) declare(t *testing.T, app string) {
	t.Helper()
	port := netip.MustParseAddrPort(app).Port()
	pd.plane.SetInbound(&mesh.Inbound{
		Default: mesh.PortPolicy{Policy: mesh.AllUnauthenticated}, DeclaredPorts: mesh.NewPortSet(port),
	})
	pd.awaitPolicy(t, func(a netip.AddrPort) bool { return pd.Proxy.inbound.Policy().Declares(a.Port()) }, app)
}

// A client that tries ports that nothing serves makes no series: the attempts count under one name, and the port that
// is served counts right.
func TestAttemptsAtClosedPortsMakeNoSeries(t *testing.T) {
	const attempts = 3000
	pd := startPod(t, nil)
	app := listen(t, echoPath)
	pd.declare(t, app)
	before := len(pd.scrape(t))
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	honest := 0
	for i := range attempts {
		closed := fmt.Sprintf("127.0.0.1:%d", 61_000+i) // beyond the ports that Linux gives to those who do not choose
		entrance := pd.inboundTo(closed)
		if i%2 == 0 { // a request, or bytes
			res, err := client.Get("http://" + entrance)
			if err != nil {
				t.Fatal(err)
			}
			res.Body.Close()
		} else if _, err := ask(entrance, "\x00"); !isReset(err) {
			t.Fatalf("attempt %d: got %v, want a reset", i, err)
		}
		if i%100 == 0 {
			res, err := client.Get("http://" + pd.inboundTo(app))
			if err != nil || res.StatusCode != http.StatusOK {
				t.Fatal(res, err)
			}
			res.Body.Close()
			honest++
		}
	}
	text := pd.scrape(t)
	if grown := len(text) - before; grown > 64<<10 {
		t.Errorf("the scrape grew by %d bytes, want at most 64 KiB", grown)
	}
	if got := sum(t, pd.Proxy, "request_total",
		`target_addr="other",target_ip="other",target_port="other"`); int(got) != attempts/2 {
		t.Errorf("%v requests for closed ports were counted, want %d", got, attempts/2)
	}
	if got := sum(t, pd.Proxy, "request_total", `target_addr="`+app+`"`); int(got) != honest {
		t.Errorf("%v requests for the application were counted, want %d", got, honest)
	}
	if strings.Contains(text, "overflow") {
		t.Error("something had no room")
	}
}

// Which ports have series of their own.
func TestPortsWithSeries(t *testing.T) {
	pd := startPod(t, nil)
	closed := func() string {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		return l.Addr().String()
	}
	port := func(addr string) uint16 { return netip.MustParseAddrPort(addr).Port() }
	answering, declared, served, probed, unknown := listen(t, echoPath), closed(), closed(), closed(), closed()
	pd.plane.SetInbound(&mesh.Inbound{
		Default:       mesh.PortPolicy{Policy: mesh.AllUnauthenticated},
		DeclaredPorts: mesh.NewPortSet(port(declared)),
		Ports: map[uint16]mesh.PortPolicy{
			port(served): {Policy: mesh.AllUnauthenticated, Server: mesh.Ref{Kind: "Server", Namespace: "shop", Name: "cart"}},
			port(probed): {Policy: mesh.AllUnauthenticated, ProbePaths: []string{"/live"}},
		},
	})
	pd.awaitPolicy(t, func(a netip.AddrPort) bool { return pd.Proxy.inbound.Policy().Declares(a.Port()) }, declared)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for name, tc := range map[string]struct {
		app  string
		want bool
	}{
		"a container declares it":             {declared, true},
		"a Server selects it":                 {served, true},
		"a probe goes there":                  {probed, true},
		"an application accepted connections": {answering, true},
		"nothing is known of it":              {unknown, false},
	} {
		for range 2 { // the first may be what shows that there is an application
			res, err := client.Get("http://" + pd.inboundTo(tc.app))
			if err != nil {
				t.Fatal(err)
			}
			res.Body.Close()
		}
		for _, family := range []string{"request_total", "tcp_open_total", "inbound_http_authz_allow_total"} {
			if got := countLines(pd.scrape(t), family, `target_addr="`+tc.app+`"`) > 0; got != tc.want {
				t.Errorf("%s: there is a %s: %v, want %v", name, family, got, tc.want)
			}
		}
	}
}

// A client may choose the statuses of an application that answers what it is asked for.
func TestStatusesThatClientsChooseAreBounded(t *testing.T) {
	pd := startPod(t, nil)
	app := listen(t, func(c *net.TCPConn) {
		for r := bufio.NewReader(c); ; {
			q, err := http.ReadRequest(r)
			if err != nil {
				return
			}
			if _, err := fmt.Fprintf(c, "HTTP/1.1 %s Chosen\r\ncontent-length: 0\r\n\r\n", path.Base(q.URL.Path)); err != nil {
				return
			}
		}
	})
	pd.declare(t, app)
	entrance := "http://" + pd.inboundTo(app)
	n := 0
	for status := 200; status < 1000; status++ {
		if status == http.StatusNoContent || status == http.StatusNotModified {
			continue
		}
		res, err := http.DefaultClient.Get(fmt.Sprint(entrance, "/", status))
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		n++
	}
	text := pd.scrape(t)
	for family, most := range map[string]int{"response_total": 80, "response_latency_ms_count": 80,
		"inbound_http_statuses_total": 80} {
		if got := countLines(text, family, `direction="inbound"`) + countLines(text, family, `parent_kind`); got > most ||
			got < 64 {
			t.Errorf("%d series of %s, want 64 to %d", got, family, most)
		}
	}
	if got := sum(t, pd.Proxy, "response_total", `target_addr="`+app+`"`); int(got) != n {
		t.Errorf("%v responses were counted, want %d", got, n)
	}
}

// Clients that prove many identities do not push out the series of one that has an open connection, nor of one that
// comes again and again.
func TestIdentitiesThatClientsChooseAreBounded(t *testing.T) {
	const identities = 600
	pd := startPod(t, nil)
	app := listen(t, echo)
	pd.declare(t, app)
	entrance := pd.inboundTo(app)
	connect := func(account string) *tls.Conn {
		id := mesh.ID{TrustDomain: mesh.DefaultTrustDomain, Namespace: "flood", ServiceAccount: account}
		c := tls.Client(dial(t, entrance), &tls.Config{
			MinVersion: tls.VersionTLS13, NextProtos: []string{mesh.ALPNRelay}, InsecureSkipVerify: true,
			Certificates: []tls.Certificate{pd.ca.Issue(id)},
		})
		if _, err := io.WriteString(c, "\x00"); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		return c
	}
	connect("open")
	n := 0
	for i := range identities {
		if i%10 == 0 {
			connect("returning").Close()
			n++
		}
		connect(fmt.Sprintf("client-%050d", i)).Close()
	}
	text := pd.scrape(t)
	if len(text) > 9<<20 {
		t.Errorf("a scrape has %d bytes", len(text))
	}
	label := func(account string) string {
		return `client_id="spiffe://` + mesh.DefaultTrustDomain + `/ns/flood/sa/` + account + `"`
	}
	if got := sum(t, pd.Proxy, "tcp_open_total", label("returning")); int(got) != n {
		t.Errorf("%v connections of a client that returns were counted, want %d", got, n)
	}
	if got := sum(t, pd.Proxy, "tcp_open_connections", label("open")); got != 1 {
		t.Errorf("%v open connections, want 1", got)
	}
	if countLines(text, "tulle_metrics_evicted_total", "") == 0 {
		t.Error("nothing was evicted: the test does not reach the bound")
	}
}

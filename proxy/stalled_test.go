package proxy

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/internal/meshtest"
	"github.com/tulle-mesh/tulle/mesh"
)

// forged is a field that no application may read, and forgery a request that has it.
const (
	forged  = "l5d-client-id: spiffe://cluster.local/ns/shop/sa/forged\r\n"
	forgery = "GET /admin HTTP/1.1\r\nHost: a\r\nConnection: close\r\n" + forged + "\r\n"
)

// recorder is an application that keeps all bytes it reads, and answers what looks like a whole head.
type recorder struct {
	addr string
	mu   sync.Mutex // guards read
	read bytes.Buffer
}

func record(t *testing.T) *recorder {
	r := &recorder{}
	r.addr = listen(t, func(c *net.TCPConn) {
		var head bytes.Buffer
		b := make([]byte, 4096)
		for {
			n, err := c.Read(b)
			r.mu.Lock()
			r.read.Write(b[:n])
			r.mu.Unlock()
			head.Write(b[:n])
			if bytes.HasSuffix(head.Bytes(), []byte("\r\n\r\n")) {
				_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
				head.Reset()
			}
			if err != nil {
				return
			}
		}
	})
	return r
}

func (r *recorder) text() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.read.String()
}

// startImpatient runs startImpatientPair, and returns the addresses of the client's application and of the server's
// port as strangers reach it.
func startImpatient(t *testing.T, app string, policy mesh.PortPolicy, detect time.Duration) (meshed, plain string) {
	t.Helper()
	client, server := startImpatientPair(t, app, policy, detect)
	return client.Addresses().Local.Outbound[0].String(), server.Addresses().Local.Inbound[0].String()
}

// startImpatientPair runs a pair of proxies that wait for first bytes for as long as detect says.
func startImpatientPair(
	t *testing.T, app string, policy mesh.PortPolicy, detect time.Duration,
) (client, server *Proxy) {
	t.Helper()
	ca := meshtest.NewCA(t)
	settings := mesh.ProxyConfig{InboundDetectTimeout: mesh.Duration(detect), OutboundDetectTimeout: mesh.Duration(detect)}
	server = start(t, Config{Settings: settings, Local: &Local{
		Certs: ca.Certs(cart), Inbound: []LocalInbound{{
			Listen: anyPort, AppAddr: netip.MustParseAddrPort(app), Policy: policy,
		}},
	}})
	entrance := server.Addresses().Local.Inbound[0]
	client = start(t, Config{Settings: settings, Local: &Local{
		Certs: ca.Certs(web),
		Outbound: []LocalOutbound{{Listen: anyPort, Value: mesh.Outbound{
			Kind: mesh.ToService, Authority: "cart.shop.svc.cluster.local:80",
			Endpoints: []mesh.Endpoint{{Addr: entrance, Identity: cart}},
		}}},
	}})
	return client, server
}

// detectSoon is the detect timeout of tests that stall, more than a busy machine takes between connecting and the first
// byte; patience is how long they stall.
const (
	detectSoon = 500 * time.Millisecond
	patience   = 2 * detectSoon
)

// expectSilence reports whether nothing came for a while, and the connection is still there.
func expectSilence(t *testing.T, c net.Conn) {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if n, err := c.Read(make([]byte, 1)); n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("got %d bytes, %v while the request was not complete", n, err)
	}
	if err := c.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
}

// TestAStalledRequestForgesNoIdentity sends part of a request to a port that declares no protocol, waits until
// detection is over, and sends the rest with the name of another client. Requests in odd forms go on whole.
func TestAStalledRequestForgesNoIdentity(t *testing.T) {
	const rest = "\r\nHost: a\r\nConnection: close\r\n" + forged + "\r\n"
	cases := map[string]struct {
		first, rest string
		want        int
	}{
		"half a method":               {"GE", "T / HTTP/1.1" + rest, 200},
		"one letter":                  {"P", "OST / HTTP/1.1" + rest, 200},
		"a method":                    {"DELETE", " / HTTP/1.1" + rest, 200},
		"a method and a space":        {"GET ", "/ HTTP/1.1" + rest, 200},
		"half a target":               {"GET /a", "b HTTP/1.1" + rest, 200},
		"half an absolute target":     {"GET ht", "tp://a/ HTTP/1.1" + rest, 200},
		"half a version":              {"GET / HT", "TP/1.1" + rest, 200},
		"a target of another method":  {"BREW /pot", " HTTP/1.1" + rest, 200},
		"half the target of a tunnel": {"CONNECT a:", "80 HTTP/1.1\r\nHost: a:80\r\n" + forged + "\r\n", 200},
		"half the server's options":   {"OPTIONS *", " HTTP/1.1" + rest, 200},
		"an empty line":               {"\r\n", forgery, 200},
		"half an empty line":          {"\r", "\n" + forgery, 200},
		"half the preface":            {"PRI * HTTP/2.0\r\n\r", "\nXM\r\n\r\n" + forgery, 0},
		"a preface in lower case":     {"pri * http/2.0\r\n", "\r\nsm\r\n\r\n" + forgery, 400},
		"empty lines before, at once": {"", "\r\n\r\n" + forgery, 200},
		"bare line feeds, at once":    {"", "\n" + strings.ReplaceAll(forgery, "\r", ""), 400},
		"a blank before, at once":     {"", " " + forgery, 400},
		"tabs, at once":               {"", strings.ReplaceAll(forgery, "GET /admin ", "GET\t/admin\t"), 400},
		"lower-case version, at once": {"", strings.Replace(forgery, "HTTP/1.1", "http/1.1", 1), 400},
		"another version, at once":    {"", strings.Replace(forgery, "HTTP/1.1", "HTTP/9.9", 1), 400},
		"no version, at once":         {"", strings.Replace(forgery, " HTTP/1.1", "", 1), 400},
		"long method, at once":        {"", strings.Replace(forgery, "GET", strings.Repeat("GET", 100), 1), 400},
		"blanks of Python, at once": {"", strings.Replace(strings.Replace(forgery, " ", "\x1c", 1), " HTTP", "\xa0HTTP",
			1), 400},
		"a signed version, at once":    {"", strings.Replace(forgery, "GET /admin HTTP/", "OPTIONS * HTTP/+", 1), 400},
		"a NUL, at once":               {"", strings.Replace(forgery, "GET /admin", "OPTIONS /\x00", 1), 400},
		"lower-case method, at once":   {"", strings.Replace(forgery, "GET", "get", 1), 200},
		"lower-case version, stalling": {"GET / http", "/1.1" + rest, 400},
	}
	app := record(t)
	open := mesh.PortPolicy{Policy: mesh.AllUnauthenticated}
	meshed, plain := startImpatient(t, app.addr, open, detectSoon)
	meshedAtOnce, plainAtOnce := startImpatient(t, app.addr, open, time.Hour)
	var wg sync.WaitGroup
	for from, addrs := range map[string][2]string{"meshed": {meshed, meshedAtOnce}, "plain": {plain, plainAtOnce}} {
		for name, tc := range cases {
			addr := addrs[0]
			if tc.first == "" {
				addr = addrs[1]
			}
			wg.Go(func() {
				t.Run(from+", "+name, func(t *testing.T) {
					c := dial(t, addr)
					if tc.first != "" {
						if _, err := io.WriteString(c, tc.first); err != nil {
							t.Fatal(err)
						}
						if tc.want > 0 {
							expectSilence(t, c)
						} else if _, err := c.Read(make([]byte, 1)); err != nil { // HTTP/2 greets
							t.Fatal(err)
						}
					}
					if _, err := io.WriteString(c, tc.rest); err != nil {
						t.Fatal(err)
					}
					res, err := http.ReadResponse(bufio.NewReader(c), nil)
					switch {
					case tc.want == 0 && err == nil:
						t.Errorf("got %d, want no answer in HTTP/1", res.StatusCode)
					case tc.want == 0:
					case err != nil || res.StatusCode != tc.want:
						t.Errorf("got %v, %v, want %d", res, err, tc.want)
					}
				})
			})
		}
	}
	wg.Wait()
	if got := app.text(); strings.Contains(got, "forged") {
		t.Errorf("the application read a name that a client made up:\n%s", got)
	}
}

// TestAHeadThatNeverComes stops within a request line: the answer is 408 when the time for a head is over.
func TestAHeadThatNeverComes(t *testing.T) {
	t.Parallel()
	_, plain := startImpatient(t, record(t).addr, mesh.PortPolicy{Policy: mesh.AllUnauthenticated}, detectSoon)
	c := dial(t, plain)
	if _, err := io.WriteString(c, "GE"); err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil || res.StatusCode != http.StatusRequestTimeout {
		t.Errorf("got %v, %v, want 408", res, err)
	}
}

// TestOtherProtocolsAreQuick expects the bytes of other protocols to be passed on at once, whatever their words look
// like: detection would take an hour.
func TestOtherProtocolsAreQuick(t *testing.T) {
	meshed, plain := startImpatient(t, listen(t, echo), mesh.PortPolicy{Policy: mesh.AllUnauthenticated}, time.Hour)
	for _, addr := range []string{meshed, plain} {
		for _, sent := range []string{"PING\r\n", "GET key\r\n", "get key\r\n", "HELO a\r\n", "NICK anna\r\n",
			"USER anna\r\n", "AMQP\x00\x00\x09\x01", "\x10\x12\x00\x04MQTT"} {
			c := dial(t, addr)
			if _, err := io.WriteString(c, sent); err != nil {
				t.Fatal(err)
			}
			got := make([]byte, len(sent))
			if _, err := io.ReadFull(c, got); err != nil || string(got) != sent {
				t.Errorf("%q: got %q, %v", sent, got, err)
			}
		}
	}
}

// TestNoWayAroundARouteOnAnUndeclaredPort tries what a guard of /admin might be passed by with, on a port whose Server
// declares no protocol.
func TestNoWayAroundARouteOnAnUndeclaredPort(t *testing.T) {
	app := record(t)
	policy := mesh.PortPolicy{Policy: mesh.Deny, Routes: []mesh.InboundRoute{
		routed("public", mesh.Match{Path: mesh.PrefixPath, Value: "/public"}, authorize(mesh.AnyClients)),
		routed("admin", mesh.Match{Path: mesh.PrefixPath, Value: "/admin"}, authorize(mesh.NamedClients, cart)),
	}}
	meshed, plain := startImpatient(t, app.addr, policy, detectSoon)
	var wg sync.WaitGroup
	for from, addr := range map[string]string{"meshed": meshed, "plain": plain} {
		for name, tc := range map[string]struct{ first, rest string }{
			"silence": {"", forgery}, "half a method": {"GE", forgery[2:]}, "a method": {"GET", forgery[3:]},
			"half a target": {"GET /ad", forgery[7:]},
			"an empty line": {"\r\n", forgery}, "bytes": {"\x00\x01", forgery},
			"a word":               {"BREW", " /admin HTTP/1.1\r\nHost: a\r\n\r\n"},
			"a word in lower case": {"get", " /admin HTTP/1.1\r\nHost: a\r\n\r\n"}, "a line": {"PING\r\n", forgery},
			"half the preface":        {"PRI * HTTP/2.0", "\r\n\r\n" + forgery},
			"a version in lower case": {"GET /admin http/1.1\r\n", "Host: a\r\n\r\n"}, "no version": {"GET /admin\r\n", "\r\n"},
			"a tunnel": {"CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n", forgery}, "TLS": {"\x16\x03\x01\x00\x05", forgery},
		} {
			wg.Go(func() {
				c := dial(t, addr)
				if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
					t.Error(err)
				}
				_, _ = io.WriteString(c, tc.first)
				_, _ = c.Read(make([]byte, 1)) // whatever becomes of it
				_, _ = io.WriteString(c, tc.rest)
				if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
					t.Error(err)
				}
				if got, _ := io.ReadAll(c); strings.Contains(string(got), "200 OK") {
					t.Errorf("%s, %s: got %q", from, name, got)
				}
			})
		}
	}
	wg.Wait()
	if got := app.text(); got != "" {
		t.Errorf("the application read %q", got)
	}
	if got, _ := exchangeRaw(t, plain, "\r\nGET /public HTTP/1.1\r\nHost: a\r\n\r\n", 1); got[0] != 200 {
		t.Errorf("after an empty line, what everybody may ask for: got %d", got[0])
	}
}

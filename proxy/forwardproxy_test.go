package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tulle-mesh/tulle/internal/meshtest"
	"github.com/tulle-mesh/tulle/mesh"
)

// serveHeads runs an application that answers every request with the request line and the Host fields that it got.
func serveHeads(t *testing.T) (addr string) {
	return listen(t, func(c *net.TCPConn) {
		br := bufio.NewReader(c)
		for {
			var got []string
			for n := 0; ; n++ {
				line, err := br.ReadString('\n')
				if err != nil {
					return
				}
				if line = strings.TrimSpace(line); line == "" {
					break
				}
				if n == 0 || len(line) > 5 && strings.EqualFold(line[:5], "host:") {
					got = append(got, line)
				}
			}
			body := strings.Join(got, "|")
			_, _ = fmt.Fprintf(c, "HTTP/1.1 %d OK\r\nContent-Length: %d\r\n\r\n%s", 203, len(body), body)
		}
	})
}

// A request whose target has an authority is routed, authorized and logged by it, and its server sees no other name,
// whatever Host says: RFC 9112 §3.2.2.
func TestNoRequestIsAuthorizedByOneNameAndServedByAnother(t *testing.T) {
	open := routed("open", mesh.Match{Path: mesh.PrefixPath, Value: "/",
		Headers: []mesh.FieldMatch{{Name: "host", Value: "open"}}}, authorize(mesh.AnyClients))
	tunnel := routed("tunnel", mesh.Match{Path: mesh.PrefixPath, Value: "/", Method: "CONNECT",
		Headers: []mesh.FieldMatch{{Name: "host", Value: "open:443"}}}, authorize(mesh.AnyClients))
	secret := routed("secret", mesh.Match{Path: mesh.PrefixPath, Value: "/",
		Headers: []mesh.FieldMatch{{Name: "host", Value: "secret"}}}, authorize(mesh.NamedClients, cart))
	policy := mesh.PortPolicy{Policy: mesh.Deny, Routes: []mesh.InboundRoute{open, tunnel, secret}}
	for name, plain := range map[string]bool{"through two proxies": false, "through one": true} {
		t.Run(name, func(t *testing.T) {
			log := make(lines, 100)
			app := serveHeads(t)
			ca := meshtest.NewCA(t)
			server := start(t, Config{
				AccessLog: log, Settings: mesh.ProxyConfig{AccessLog: "json"},
				Local: &Local{Certs: ca.Certs(cart), Inbound: []LocalInbound{
					{Listen: anyPort, AppAddr: netip.MustParseAddrPort(app), Policy: policy}}},
			})
			at := server.Addresses().Local.Inbound[0]
			entrance := at.String()
			if !plain {
				client := start(t, Config{Local: &Local{Certs: ca.Certs(web),
					Outbound: []LocalOutbound{{Listen: anyPort, Value: mesh.Outbound{
						Kind: mesh.ToService, Endpoints: []mesh.Endpoint{{Addr: at, Identity: cart}},
					}}}}})
				entrance = client.Addresses().Local.Outbound[0].String()
			}
			for what, c := range map[string]struct {
				in     string
				status int
				want   string // the application sees
			}{
				"absolute form, open by its target":     {"GET http://open/ HTTP/1.1\r\nHost: secret\r\n", 203, "GET http://open/ HTTP/1.1|Host: open"},
				"absolute form, denied by its target":   {"GET http://secret/ HTTP/1.1\r\nHost: open\r\n", 403, ""},
				"absolute form of HTTP/1.0":             {"GET http://secret/ HTTP/1.0\r\nConnection: keep-alive\r\nHost: open\r\n", 403, ""},
				"absolute form with https":              {"GET https://secret/ HTTP/1.1\r\nHost: open\r\n", 403, ""},
				"absolute form that upgrades":           {"GET http://secret/ HTTP/1.1\r\nHost: open\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n", 403, ""},
				"absolute form of a name without route": {"GET http://other/ HTTP/1.1\r\nHost: open\r\n", 404, ""},
				"CONNECT, open by its target": {"CONNECT open:443 HTTP/1.1\r\nHost: secret\r\n", 203,
					"CONNECT open:443 HTTP/1.1|Host: open:443"},
				"CONNECT, no route for its target": {"CONNECT secret:443 HTTP/1.1\r\nHost: open:443\r\n", 404, ""},
				"origin form uses Host":            {"GET / HTTP/1.1\r\nHost: open\r\n", 203, "GET / HTTP/1.1|Host: open"},
				"origin form, denied":              {"GET / HTTP/1.1\r\nHost: secret\r\n", 403, ""},
				"userinfo in the target":           {"GET http://open@secret/ HTTP/1.1\r\nHost: open\r\n", 400, ""},
				"two Hosts":                        {"GET http://open/ HTTP/1.1\r\nHost: open\r\nHost: secret\r\n", 400, ""},
			} {
				t.Run(what, func(t *testing.T) {
					c1 := dial(t, entrance)
					if _, err := io.WriteString(c1, c.in+"\r\n"); err != nil {
						t.Fatal(err)
					}
					got := make([]byte, 4096)
					n, err := io.ReadAtLeast(c1, got, 12)
					if err != nil {
						t.Fatal(err)
					}
					head, _, _ := strings.Cut(string(got[:n]), "\r\n")
					if want := fmt.Sprintf("HTTP/1.1 %d", c.status); !strings.HasPrefix(head, want) {
						t.Fatalf("got %q, want %s", got[:n], want)
					}
					if c.want == "" {
						return
					}
					for !strings.HasSuffix(string(got[:n]), c.want) {
						m, err := c1.Read(got[n:])
						if n += m; err != nil {
							t.Fatalf("got %q, want the application to see %q", got[:n], c.want)
						}
					}
				})
			}
			for len(log) > 0 {
				if line := <-log; strings.Contains(line, `"host":"secret`) && strings.Contains(line, `"status":203`) {
					t.Errorf("logged %s", line)
				}
			}
		})
	}
}

// serveForwardProxy runs a forward proxy: CONNECT opens a tunnel, anything else is answered with what was asked for.
func serveForwardProxy(t *testing.T) (addr string) {
	return listen(t, func(c *net.TCPConn) {
		br := bufio.NewReader(c)
		for {
			req, err := http.ReadRequest(br)
			if err != nil {
				return
			}
			if req.Method == "CONNECT" {
				up, err := net.Dial("tcp", req.RequestURI)
				if err != nil {
					_, _ = io.WriteString(c, "HTTP/1.1 502 No\r\nContent-Length: 0\r\n\r\n")
					continue
				}
				defer up.Close()
				_, _ = io.WriteString(c, "HTTP/1.1 200 Connection established\r\n\r\n")
				go func() { _, _ = io.Copy(up, br); _ = up.(*net.TCPConn).CloseWrite() }()
				_, _ = io.Copy(c, up)
				return
			}
			body := "proxied " + req.RequestURI + " for " + req.Host
			_, _ = fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
		}
	})
}

// Clients of a forward proxy inside the mesh get what they get without the mesh: as they write their requests, and the
// real ones that are installed.
func TestClientsOfAForwardProxy(t *testing.T) {
	origin := serveHTTP(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "origin ", r.RequestURI) })
	app := serveForwardProxy(t)
	p := startPair(t, pairConfig{app: app})
	t.Run("as written", func(t *testing.T) {
		for name, c := range map[string]struct{ in, want string }{
			"JDK 17, CONNECT": {"CONNECT " + origin +
				" HTTP/1.1\r\nUser-Agent: Java/17\r\nHost: 127.0.0.1\r\nAccept: */*\r\nProxy-Connection: keep-alive\r\n\r\nGET " +
				"/j HTTP/1.0\r\n\r\n", "origin /j"},
			"https-proxy-agent 5": {"CONNECT " + origin +
				" HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\nGET /n HTTP/1.0\r\n\r\n", "origin /n"},
			"curl": {"CONNECT " + origin + " HTTP/1.1\r\nHost: " + origin +
				"\r\nProxy-Connection: Keep-Alive\r\n\r\nGET /c HTTP/1.0\r\n\r\n", "origin /c"},
			"Python 3, HTTP/1.0":     {"CONNECT " + origin + " HTTP/1.0\r\n\r\nGET /p HTTP/1.0\r\n\r\n", "origin /p"},
			"JDK 17, absolute":       {"GET http://u:80/ HTTP/1.1\r\nHost: u\r\nProxy-Connection: keep-alive\r\nConnection: close\r\n\r\n", "proxied http://u:80/ for u:80"},
			"curl with another Host": {"GET http://u/ HTTP/1.1\r\nHost: other\r\nConnection: close\r\n\r\n", "proxied http://u/ for u"},
		} {
			t.Run(name, func(t *testing.T) {
				if got, err := ask(p.addr, c.in); err != nil || !strings.HasSuffix(got, c.want) {
					t.Errorf("got %q, %v; want %q", got, err, c.want)
				}
			})
		}
	})
	t.Run("curl", func(t *testing.T) {
		for want, args := range map[string][]string{
			"origin /": {"--proxytunnel", "http://" + origin + "/"},
			"proxied http://u.example/ for u.example": {"-H", "Host: other", "http://u.example/"},
		} {
			cmd := exec.Command("curl", append([]string{"-s", "--max-time", "10", "--noproxy", "", "-x", "http://" + p.addr}, args...)...)
			if cmd.Err != nil {
				t.Skip(cmd.Err)
			}
			cmd.WaitDelay = 15 * time.Second
			got, err := cmd.Output()
			if diff := cmp.Diff(want, string(got)); diff != "" {
				t.Errorf("%v\n%s", err, diff)
			}
		}
	})
}

// A response that breaks before anything of it went on is the proxy's own answer, with its cause.
func TestBrokenResponseIsReportedInProxyStatus(t *testing.T) {
	app := listen(t, func(c *net.TCPConn) {
		if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")
		}
	})
	for _, plain := range []bool{false, true} {
		p := startPair(t, pairConfig{app: app, plain: plain})
		got := do(t, client(t, p.addr, false), "POST", "http://cart.shop/", nil)
		if s := got.header.Get("Proxy-Status"); got.status != 502 || !strings.Contains(s, "error=http_protocol_error") {
			t.Errorf("got %d, Proxy-Status %q", got.status, s)
		}
	}
}

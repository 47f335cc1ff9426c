package e2e

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"
)

const gib = 1 << 30

func serverSaw(t *testing.T, a answer) seen {
	t.Helper()
	if a.Status != 200 {
		t.Fatalf("got status %d, error %q, header %v, body %q; want 200", a.Status, a.Error, a.Header, a.Body)
	}
	return decode[seen](t, []byte(a.Body))
}

func TestServerSeesTheCallersIdentity(t *testing.T) {
	for _, proto := range []string{"h1", "h2c"} {
		got := serverSaw(t, meshed.http(t, "-url", "http://server.e2e/", "-proto", proto))
		want := "spiffe://cluster.local/ns/e2e/sa/client"
		if ids := got.Header["L5d-Client-Id"]; len(ids) != 1 || ids[0] != want {
			t.Errorf("%s: the server saw l5d-client-id %q, want %q", proto, ids, want)
		}
	}
}

func TestCallerCannotForgeItsIdentity(t *testing.T) {
	for name, c := range map[string]client{"meshed": meshed, "unmeshed": unmeshed} {
		for _, header := range []string{"l5d-client-id: forged", "L5D-Client-ID: forged", "l5d_client_id: forged"} {
			got := serverSaw(t, c.http(t, "-url", "http://server.e2e/", "-header", header, "-header", "Connection: l5d-client-id"))
			for name2, values := range got.Header {
				if strings.Contains(strings.Join(values, " "), "forged") {
					t.Errorf("%s client with %q: the server saw %s: %q", name, header, name2, values)
				}
			}
		}
	}
}

func TestHTTP(t *testing.T) {
	const server = "http://server.e2e"
	for _, proto := range []string{"h1", "h2c"} {
		t.Run(proto, func(t *testing.T) {
			request := func(t *testing.T, path string, args ...string) answer {
				return meshed.http(t, append([]string{"-url", server + path, "-proto", proto, "-timeout", "120s"}, args...)...)
			}
			t.Run("version and host arrive as sent", func(t *testing.T) {
				got := serverSaw(t, request(t, "/a/b%2Fc?d=e", "-header", "X-Custom: v"))
				want := map[string]string{"h1": "HTTP/1.1", "h2c": "HTTP/2.0"}[proto]
				if got.Proto != want || got.Host != "server.e2e" || got.URI != "/a/b%2Fc?d=e" || got.Header["X-Custom"][0] != "v" {
					t.Errorf("the server saw %+v", got)
				}
			})
			t.Run("100-continue", func(t *testing.T) {
				a := request(t, "/", "-method", "POST", "-body", "100000", "-expect-continue")
				if got := serverSaw(t, a); got.Bytes != 100000 || proto == "h1" && !a.Continue {
					t.Errorf("server read %d bytes, client saw 100 Continue: %v", got.Bytes, a.Continue)
				}
			})
			t.Run("trailers both ways", func(t *testing.T) {
				a := request(t, "/trailers", "-method", "POST", "-text", "x", "-trailer", "sum")
				if a.Body != "request trailer: sum" || len(a.Trailer["X-Checksum"]) != 1 || a.Trailer["X-Checksum"][0] != "abc123" {
					t.Errorf("got body %q, trailer %v", a.Body, a.Trailer)
				}
			})
			t.Run("HEAD has no body", func(t *testing.T) {
				if a := request(t, "/", "-method", "HEAD"); a.Status != 200 || a.Bytes != 0 || a.Error != "" {
					t.Errorf("got %+v", a)
				}
			})
			for _, code := range []int{204, 304, 404, 503} {
				t.Run(fmt.Sprint("status ", code), func(t *testing.T) {
					if a := request(t, "/status?code="+strconv.Itoa(code)); a.Status != code || a.Error != "" {
						t.Errorf("got %+v", a)
					}
				})
			}
			t.Run("1 GiB request", func(t *testing.T) {
				if got := serverSaw(t, request(t, "/", "-method", "POST", "-body", strconv.Itoa(gib))); got.Bytes != gib {
					t.Errorf("the server read %d bytes, want %d", got.Bytes, gib)
				}
			})
			t.Run("1 GiB response", func(t *testing.T) {
				if a := request(t, "/bytes?n="+strconv.Itoa(gib)); a.Bytes != gib || a.Error != "" {
					t.Errorf("got %d bytes, error %q; want %d", a.Bytes, a.Error, gib)
				}
			})
		})
	}
}

func TestHTTP10(t *testing.T) {
	a := meshed.http(t, "-proto", "raw", "-url", "server.e2e:80", "-raw", `GET /x HTTP/1.0\r\nHost: server.e2e\r\n\r\n`)
	if !strings.HasPrefix(a.Body, "HTTP/1.") || !strings.Contains(a.Body, `"uri":"/x"`) ||
		!strings.Contains(a.Body, `"proto":"HTTP/1.0"`) {
		t.Errorf("got %q, error %q", a.Body, a.Error)
	}
}

func TestMalformedHTTPNeverReachesTheServer(t *testing.T) {
	for name, raw := range map[string]string{
		"content-length and transfer-encoding": `POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
		"two lengths":                          `POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello`,
		"space before colon":                   `GET / HTTP/1.1\r\nHost : a\r\n\r\n`,
		"obsolete folding":                     `GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n`,
		"two hosts":                            `GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n`,
	} {
		a := meshed.http(t, "-proto", "raw", "-url", "server.e2e:80", "-raw", raw)
		if !strings.HasPrefix(a.Body, "HTTP/1.1 400") || strings.Contains(a.Body, `"pod"`) {
			t.Errorf("%s: got %q; want 400", name, a.Body)
		}
	}
}

func TestWebSocket(t *testing.T) {
	out := meshed.mustApp(t, "ws", "-url", "ws://server.e2e/ws", "-count", "1000", "-size", "5000")
	if got := decode[map[string]int](t, out); got["echoed"] != 1000 {
		t.Errorf("got %s", out)
	}
}

func TestGRPC(t *testing.T) {
	if out := string(meshed.mustApp(t, "grpc", "-addr", "server.e2e:9090")); strings.Count(out, "ok ") != 12 {
		t.Errorf("got %s; want 12 cases", out)
	}
}

type tcpResult struct {
	First, Answer, Error string
	Seconds              float64
}

func TestTCP(t *testing.T) {
	tcp := func(t *testing.T, args ...string) tcpResult {
		t.Helper()
		return decode[tcpResult](t, meshed.mustApp(t, append([]string{"tcp"}, args...)...))
	}
	t.Run("half-close", func(t *testing.T) {
		if r := tcp(t, "-addr", "server.e2e:7000", "-send", "50000000"); !strings.HasPrefix(r.Answer, "50000000 bytes") {
			t.Errorf("got %+v", r)
		}
	})
	t.Run("the server speaks first", func(t *testing.T) {
		r := tcp(t, "-addr", "server.e2e:7001", "-banner", "-text", "hello")
		if r.First != "220 ready\r\n" || r.Answer != "hello" || r.Seconds > 2.5 {
			t.Errorf("got %+v; want the banner within detection's second", r)
		}
	})
	t.Run("a port that is opaque by default", func(t *testing.T) {
		if r := tcp(t, "-addr", "server.e2e:6379", "-text", "PING"); r.Answer != "PING" {
			t.Errorf("got %+v", r)
		}
	})
}

func TestApplicationsOwnTLSPasses(t *testing.T) {
	got := decode[map[string]string](t, meshed.mustApp(t, "tls", "-addr", "server.e2e:443"))
	if got["subject"] != "app-own-tls" || !strings.Contains(got["answer"], "200 OK") {
		t.Errorf("got %v; want the application's own certificate", got)
	}
}

func TestHeadlessAndDirectPodAddresses(t *testing.T) {
	serverSaw(t, meshed.http(t, "-url", "http://server-headless.e2e:8080/"))
	for _, ip := range podIPs(t, appNS, "server") {
		got := serverSaw(t, meshed.http(t, "-url", "http://"+bracket(ip)+":8080/"))
		if got.Header["L5d-Client-Id"] == nil {
			t.Errorf("pod %s was reached without mesh TLS", ip)
		}
	}
}

// podIPs returns every address, of both families, of the pods of a deployment.
func podIPs(t *testing.T, ns, app string) []string {
	t.Helper()
	var list struct {
		Items []struct {
			Metadata struct{ DeletionTimestamp string }
			Status   struct{ PodIPs []struct{ IP string } }
		}
	}
	out := mustKubectl(t, "-n", ns, "get", "pods", "-l", "app="+app, "--field-selector=status.phase=Running", "-o", "json")
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		t.Fatal(err)
	}
	var ips []string
	for _, pod := range list.Items {
		if pod.Metadata.DeletionTimestamp != "" {
			continue // it ends, but still counts as running
		}
		for _, ip := range pod.Status.PodIPs {
			ips = append(ips, ip.IP)
		}
	}
	if len(ips) == 0 {
		t.Fatalf("no pod of %s/%s runs", ns, app)
	}
	return ips
}

func bracket(ip string) string {
	if strings.Contains(ip, ":") {
		return "[" + ip + "]"
	}
	return ip
}

func TestMeshedReachesUnmeshedAndBack(t *testing.T) {
	serverSaw(t, meshed.http(t, "-url", "http://server.plain/"))
	serverSaw(t, unmeshed.http(t, "-url", "http://server.e2e/"))
}

func TestPortThatWantsIdentity(t *testing.T) {
	t.Run("meshed caller is served", func(t *testing.T) {
		serverSaw(t, meshed.http(t, "-url", "http://strict.e2e/"))
	})
	t.Run("unmeshed HTTP caller gets a 403 that says why", func(t *testing.T) {
		a := unmeshed.http(t, "-url", "http://strict.e2e/")
		if a.Status != 403 || !strings.Contains(a.Body+a.header("Proxy-Status"), "identity") &&
			!strings.Contains(a.Body, "mesh") {
			t.Errorf("got %d, Proxy-Status %q, body %q", a.Status, a.header("Proxy-Status"), a.Body)
		}
	})
	t.Run("unmeshed TCP caller is cut", func(t *testing.T) {
		out, _ := unmeshed.app("tcp", "-addr", "strict.e2e:6379", "-text", "PING")
		if strings.Contains(string(out), `"answer":"PING"`) {
			t.Errorf("got %s; want no answer", out)
		}
	})
}

func TestBalancesOverAllReplicas(t *testing.T) {
	got := decode[load](t, meshed.mustApp(t, "load", "-url", "http://server.e2e/", "-proto", "h2c", "-count", "1000", "-rate", "500"))
	if got.Failed != 0 || len(got.Pods) != 4 {
		t.Errorf("one HTTP/2 connection reached pods %v with %d failures; want 4 pods, 0 failures", got.Pods, got.Failed)
	}
}

// load mirrors the load command's JSON.
type load struct {
	Sent, OK, Failed int
	Statuses         map[string]int
	Errors           map[string]int
	Causes           map[string]int
	Pods             map[string]int
	P50              float64 `json:"p50_ms"`
	P99              float64 `json:"p99_ms"`
	Max              float64 `json:"max_ms"`
	// LastOK is when the last answer of 2xx was complete.
	LastOK time.Time `json:"last_ok"`
}

package tapapi

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"
	corev1 "k8s.io/api/core/v1"

	"github.com/tulle-mesh/tulle/internal/meshtest"
	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/proxy"
	"github.com/tulle-mesh/tulle/viz/tap"
)

// running is a proxy of a pod of deployment web, with an application behind it.
type running struct {
	*proxy.Proxy
	stop func()
}

func startProxy(t *testing.T, ca *meshtest.CA) *running {
	t.Helper()
	app := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(app.Close)
	loopback := netip.MustParseAddrPort("127.0.0.1:0")
	p, err := proxy.New(proxy.Config{
		Settings: mesh.ProxyConfig{TapID: self.String(), ShutdownGrace: mesh.Duration(100 * time.Millisecond)},
		Log:      zaptest.NewLogger(t, zaptest.Level(zap.WarnLevel)), Level: zap.NewAtomicLevel(),
		Local: &proxy.Local{
			Certs: ca.Certs(mesh.ID{TrustDomain: "cluster.local", Namespace: "shop", ServiceAccount: "web"}), Tap: loopback,
			Admin: loopback,
			Inbound: []proxy.LocalInbound{{
				Listen: loopback, AppAddr: netip.MustParseAddrPort(app.Listener.Addr().String()),
				Policy: mesh.PortPolicy{Policy: mesh.AllUnauthenticated},
			}},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := p.Run(ctx); err != nil {
			t.Errorf("run: %v", err)
		}
	}()
	stop := func() { cancel(); <-done }
	t.Cleanup(stop)
	<-p.Running()
	return &running{p, stop}
}

// podOf returns the pod of a proxy whose control port is at an address.
func podOf(t *testing.T, name string, control netip.AddrPort) corev1.Pod {
	t.Helper()
	return webPod(name, self.String(), func(pod *corev1.Pod) {
		pod.Status.PodIP = control.Addr().String()
		env := &pod.Spec.InitContainers[0].Env[0]
		var config mesh.ProxyConfig
		if err := json.Unmarshal([]byte(env.Value), &config); err != nil {
			t.Fatal(err)
		}
		config.ControlPort = control.Port()
		text, err := json.Marshal(config)
		if err != nil {
			t.Fatal(err)
		}
		env.Value = string(text)
	})
}

// send sends a request through the proxy to its application.
func (p *running) send(t *testing.T, client *http.Client, path string, header http.Header) {
	t.Helper()
	req, err := http.NewRequest("GET", "http://"+p.Addresses().Local.Inbound[0].String()+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header = header
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, res.Body)
	_ = res.Body.Close()
	if res.StatusCode != http.StatusNotFound {
		t.Fatalf("%s: got %d, want the application's 404", path, res.StatusCode)
	}
}

// next returns the next message of a stream.
func next(t *testing.T, lines *bufio.Scanner) (m tap.Message) {
	t.Helper()
	if !lines.Scan() {
		t.Fatalf("the stream ended: %v", lines.Err())
	}
	if err := json.Unmarshal(lines.Bytes(), &m); err != nil {
		t.Fatal(err)
	}
	return m
}

// TestUserSeesARequest follows a request from a real proxy, through the API, to a user.
func TestUserSeesARequest(t *testing.T) {
	ca := meshtest.NewCA(t)
	p := startProxy(t, ca)
	pod := podOf(t, "web-1", p.Addresses().Tap)
	r := startRig(t, pod)
	r.watch = (&tap.Watcher{Certs: ca.Certs(self)}).Watch

	roots := x509.NewCertPool()
	roots.AddCert(r.serving.cert)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{
		RootCAs: roots, ServerName: "localhost", Certificates: []tls.Certificate{*r.frontCert(t)},
	}}}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, "POST", "https://"+r.addr+webPath, strings.NewReader(`{"pathPrefix":"/a"}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header = as(allowed)
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var events []*tap.Event
	for lines := bufio.NewScanner(res.Body); len(events) < 3 && lines.Scan(); {
		var m tap.Message
		if err := json.Unmarshal(lines.Bytes(), &m); err != nil {
			t.Fatal(err)
		}
		switch {
		case m.Watching != nil:
			for _, path := range []string{"/other", "/a/b"} {
				answer, err := http.Get("http://" + p.Addresses().Local.Inbound[0].String() + path)
				if err != nil {
					t.Fatal(err)
				}
				_ = answer.Body.Close()
			}
			http.DefaultClient.CloseIdleConnections()
		case m.Event != nil:
			events = append(events, m.Event)
		default:
			t.Fatalf("got %s", lines.Text())
		}
	}
	if len(events) != 3 || events[0].RequestInit.Path != "/a/b" || events[1].ResponseInit.HTTPStatus != 404 ||
		events[2].ResponseEnd == nil || events[0].Destination.Metadata["deployment"] != "web" {
		t.Errorf("got %+v", events)
	}
}

// relay forwards connections to an address until it is cut off.
type relay struct {
	net.Listener
	mu    sync.Mutex // guards conns
	conns []net.Conn
	ended sync.WaitGroup
}

func startRelay(t *testing.T, to netip.AddrPort) *relay {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{Listener: l}
	r.ended.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", to.String())
			if err != nil {
				t.Error(err)
				return
			}
			r.mu.Lock()
			r.conns = append(r.conns, client, server)
			r.mu.Unlock()
			r.ended.Go(func() { _, _ = io.Copy(client, server) })
			r.ended.Go(func() { _, _ = io.Copy(server, client) })
		}
	})
	t.Cleanup(r.cut)
	return r
}

// cut resets every connection, as when a node loses its power and comes back.
func (r *relay) cut() {
	_ = r.Close()
	r.mu.Lock()
	for _, c := range r.conns {
		_ = c.(*net.TCPConn).SetLinger(0)
		_ = c.Close()
	}
	r.mu.Unlock()
	r.ended.Wait()
}

// TestProxyThatGoesAwayUnderTap shows that the user's stream names the proxy that has gone, and goes on with the other.
func TestProxyThatGoesAwayUnderTap(t *testing.T) {
	for name, goAway := range map[string]func(*running, *relay){
		"it is stopped": func(p *running, _ *relay) { p.stop() },
		"it is cut off": func(_ *running, r *relay) { r.cut() },
	} {
		t.Run(name, func(t *testing.T) {
			ca := meshtest.NewCA(t)
			stays, goes := startProxy(t, ca), startProxy(t, ca)
			between := startRelay(t, goes.Addresses().Tap)
			r := startRig(t, podOf(t, "web-1", stays.Addresses().Tap),
				podOf(t, "web-2", netip.MustParseAddrPort(between.Addr().String())))
			r.watch = (&tap.Watcher{Certs: ca.Certs(self)}).Watch
			lines := bufio.NewScanner(r.begin(t, r.client(t), allowed, webPath, nil).Body)
			if m := next(t, lines); m.Watching == nil || *m.Watching != 2 {
				t.Fatalf("got %+v, want two proxies", m)
			}
			goAway(goes, between)
			if m := next(t, lines); m.Notice == nil || m.Notice.Kind != tap.Ended || m.Notice.Proxy != "shop/web-2" {
				t.Fatalf("got %+v, want a notice that shop/web-2 has gone", m)
			}
			client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
			stays.send(t, client, "/after", nil)
			if m := next(t, lines); m.Event == nil || m.Event.Proxy != "shop/web-1" || m.Event.RequestInit.Path != "/after" {
				t.Errorf("got %+v, want the request of the other", m)
			}
		})
	}
}

// TestUserWhoDoesNotRead follows the whole chain: while a user does not read, the proxy's requests go on and it drops
// events; once the user reads, the stream says how many.
func TestUserWhoDoesNotRead(t *testing.T) {
	ca := meshtest.NewCA(t)
	p := startProxy(t, ca)
	r := startRig(t, podOf(t, "web-1", p.Addresses().Tap))
	r.watch = (&tap.Watcher{Certs: ca.Certs(self)}).Watch
	user := r.client(t)
	user.Transport.(*http.Transport).DialContext = (&net.Dialer{Control: func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) { _ = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4096) })
	}}).DialContext
	res := r.begin(t, user, allowed, webPath, strings.NewReader(`{"headers":true,"maxRps":1000}`))
	lines := bufio.NewScanner(res.Body)
	lines.Buffer(nil, 1<<20)
	if m := next(t, lines); m.Watching == nil {
		t.Fatalf("got %+v", m)
	}
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	header := http.Header{}
	for i := range 5 {
		header.Set(fmt.Sprint("X-Filler-", i), strings.Repeat("a", 1500))
	}
	sent := 0
	for ; !p.lost(t, client); sent++ {
		if sent == 100_000 {
			t.Fatal("nothing was lost")
		}
		p.send(t, client, "/", header)
	}
	shown := 0
	for {
		m := next(t, lines)
		if m.Event != nil && m.Event.RequestInit != nil {
			shown++
		}
		if m.Notice != nil && m.Notice.Kind == tap.Lost && m.Notice.Count > 0 {
			break
		}
	}
	t.Logf("%d requests were sent, %d shown before the notice", sent, shown)
}

// lost reports whether the proxy has dropped events, as its metrics say.
func (p *running) lost(t *testing.T, client *http.Client) bool {
	t.Helper()
	res, err := client.Get("http://" + p.Addresses().Admin.String() + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(res.Body)
	_ = res.Body.Close()
	if err != nil {
		t.Fatal(err)
	}
	return !strings.Contains(string(text), "\ntulle_tap_events_lost_total 0\n")
}

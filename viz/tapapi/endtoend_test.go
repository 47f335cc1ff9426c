package tapapi

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
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

// startProxy runs the proxy of a pod of deployment web, with an application behind it.
func startProxy(t *testing.T, ca *meshtest.CA) *proxy.Proxy {
	t.Helper()
	app := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(app.Close)
	loopback := netip.MustParseAddrPort("127.0.0.1:0")
	p, err := proxy.New(proxy.Config{
		Settings: mesh.ProxyConfig{TapID: self.String(), ShutdownGrace: mesh.Duration(100 * time.Millisecond)},
		Log:      zaptest.NewLogger(t, zaptest.Level(zap.WarnLevel)), Level: zap.NewAtomicLevel(),
		Local: &proxy.Local{
			Certs: ca.Certs(mesh.ID{TrustDomain: "cluster.local", Namespace: "shop", ServiceAccount: "web"}), Tap: loopback,
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
	t.Cleanup(func() { cancel(); <-done })
	<-p.Running()
	return p
}

// TestUserSeesARequest follows a request from a real proxy, through the API, to a user.
func TestUserSeesARequest(t *testing.T) {
	ca := meshtest.NewCA(t)
	p := startProxy(t, ca)
	pod := webPod("web-1", self.String(), func(pod *corev1.Pod) {
		pod.Status.PodIP = "127.0.0.1"
		env := &pod.Spec.InitContainers[0].Env[0]
		var config mesh.ProxyConfig
		if err := json.Unmarshal([]byte(env.Value), &config); err != nil {
			t.Fatal(err)
		}
		config.ControlPort = p.Addresses().Tap.Port()
		text, err := json.Marshal(config)
		if err != nil {
			t.Fatal(err)
		}
		env.Value = string(text)
	})
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

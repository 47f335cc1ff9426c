package web

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"go.uber.org/zap"

	"github.com/tulle-mesh/tulle/viz/board"
	"github.com/tulle-mesh/tulle/viz/metricstest"
	"github.com/tulle-mesh/tulle/viz/resource"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const series = `
response_total{direction="inbound",namespace="shop",deployment="web",classification="success"} 90
response_total{direction="inbound",namespace="shop",deployment="web",classification="failure"} 30
response_latency_ms_bucket{direction="inbound",namespace="shop",deployment="web",le="1"} 120
response_latency_ms_bucket{direction="inbound",namespace="shop",deployment="web",le="+Inf"} 120
`

// lister is a cluster with one namespace.
type lister struct{ err error }

func (l lister) List(_ context.Context, k resource.Kind, _, _ string) ([]resource.Object, error) {
	if l.err != nil || k.Name != resource.Namespace {
		return nil, l.err
	}
	return []resource.Object{{Name: "shop", Pods: []resource.Pod{{Name: "web-1", Meshed: true}, {Name: "old-1"}}}}, nil
}

// bed is a server that runs, and a browser.
type bed struct {
	*Server
	t       *testing.T
	host    string
	browser *http.Client
}

// start runs a server until the test ends. change changes its configuration.
func start(t *testing.T, change ...func(*Config)) *bed {
	t.Helper()
	return startWith(t, func(l net.Listener) net.Listener { return l }, change...)
}

// startWith is start with a change of the listener.
func startWith(t *testing.T, wrap func(net.Listener) net.Listener, change ...func(*Config)) *bed {
	t.Helper()
	source, err := metricstest.New(series)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{Hosts: []string{"127.0.0.1:" + port, "localhost:" + port, "[::1]:" + port},
		Log: zap.NewNop(), AppConfig: func(context.Context) AppConfig { return AppConfig{Version: "v1"} },
		Viewer: Viewer{Sources: func() board.Sources { return board.Sources{Numbers: source, Objects: lister{}} }}}
	for _, f := range change {
		f(&cfg)
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	b := &bed{Server: New(cfg), t: t, host: l.Addr().String(), browser: &http.Client{Jar: jar, Transport: transport}}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx, wrap(l)) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		transport.CloseIdleConnections()
	})
	return b
}

// get answers a path, with the status.
func (b *bed) get(path string) (status int, body string) {
	b.t.Helper()
	resp, err := b.browser.Get("http://" + b.host + path)
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// logIn opens the printed address.
func (b *bed) logIn() {
	b.t.Helper()
	if status, body := b.get("/?token=" + b.Token()); status != http.StatusOK {
		b.t.Fatalf("the first address: %d %s", status, body)
	}
}

// TestFromTheFirstAddressToAPage walks the way of a browser.
func TestFromTheFirstAddressToAPage(t *testing.T) {
	b := start(t)
	if status, body := b.get("/"); status != http.StatusUnauthorized || !strings.Contains(body, "tulle viz dashboard") {
		t.Errorf("without a session: %d %s", status, body)
	}
	b.logIn()
	for _, link := range []string{"/", "/topology?namespace=shop", "/workload/shop/deployment/web.v1"} {
		if status, body := b.get(link); status != http.StatusOK || !strings.Contains(body, "<!doctype html>") {
			t.Errorf("deep link %s: %d %s", link, status, body)
		}
	}
	if status, body := b.get("/api/config"); status != http.StatusOK || !strings.Contains(body, `"version":"v1"`) {
		t.Errorf("config: %d %s", status, body)
	}
	status, body := b.get("/api/page?page=overview&window=2m")
	var page board.OverviewPage
	if err := json.Unmarshal([]byte(body), &page); err != nil || status != http.StatusOK {
		t.Fatalf("page: %d %v %s", status, err, body)
	}
	if len(page.Namespaces) != 1 || page.Window != "2m" || *page.Namespaces[0].Success != 0.75 ||
		page.Namespaces[0].RPS != 1 || page.Namespaces[0].Meshed != 1 || page.Namespaces[0].Pods != 2 {
		t.Errorf("page %s", body)
	}
}

// event reads the next event of a stream.
func event(t *testing.T, lines *bufio.Scanner) (name, data string) {
	t.Helper()
	for lines.Scan() {
		switch key, value, _ := strings.Cut(lines.Text(), ": "); {
		case lines.Text() == "" && name != "":
			return name, data
		case key == "event":
			name = value
		case key == "data":
			data = value
		}
	}
	t.Fatalf("the stream ended: %v", lines.Err())
	return "", ""
}

func TestStreamSendsThePageAtOnce(t *testing.T) {
	b := start(t)
	b.logIn()
	resp, err := b.browser.Get("http://" + b.host + "/api/stream?page=overview")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	name, data := event(t, bufio.NewScanner(resp.Body))
	if name != "page" || !strings.Contains(data, `"name":"shop"`) {
		t.Errorf("event %s %s", name, data)
	}
}

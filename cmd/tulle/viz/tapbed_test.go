package viz

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/kubernetes/fake"
	metadatafake "k8s.io/client-go/metadata/fake"

	"github.com/tulle-mesh/tulle/cli/cluster"
	"github.com/tulle-mesh/tulle/cli/installation"
	"github.com/tulle-mesh/tulle/internal/meshtest"
	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/viz/tap"
	"github.com/tulle-mesh/tulle/viz/tapapi"
)

// tapID is the identity of the tap server.
var tapID = mesh.ID{TrustDomain: "cluster.local", Namespace: "tulle-viz", ServiceAccount: "tap"}

// tapBed is a bed with the real tap API behind an API server that forwards to it. Its proxies show messages.
type tapBed struct {
	*bed
	messages []tap.Message
	// then is what the watch does after the messages; nil ends it.
	then func(context.Context)
	// user asks; only alice may watch. front takes the place of the API server's handler.
	user  string
	front http.Handler

	mu sync.Mutex // guards the fields below
	// asked are the queries that proxies got, and paths those of the API.
	asked []tap.Query
	paths []string
}

func newTapBed(t *testing.T) *tapBed {
	t.Helper()
	b := &tapBed{bed: shop(t), user: "alice", messages: traffic()}
	for _, p := range b.pods {
		if len(p.Spec.InitContainers) > 0 {
			tapped(t, p, tapID.String())
		}
	}
	ca := meshtest.NewCA(t)
	roots, err := os.ReadFile(ca.RootsFile())
	if err != nil {
		t.Fatal(err)
	}
	proxy, err := tapapi.ParseFrontProxy(map[string]string{
		"requestheader-client-ca-file": string(roots), "requestheader-username-headers": `["X-Remote-User"]`})
	if err != nil {
		t.Fatal(err)
	}
	server := tapapi.New(tapapi.Config{
		FrontProxy: func() *tapapi.FrontProxy { return proxy },
		Review: func(_ context.Context, spec authorizationv1.SubjectAccessReviewSpec) (
			authorizationv1.SubjectAccessReviewStatus, error) {
			return authorizationv1.SubjectAccessReviewStatus{Allowed: spec.User == "alice"}, nil
		},
		Pods: b.podsOf, Watch: b.watch, ID: tapID, Log: zap.NewNop(), Registry: prometheus.NewRegistry(),
	})
	var chain []*x509.Certificate
	for _, der := range ca.Issue(mesh.ID{TrustDomain: "cluster.local", Namespace: "a", ServiceAccount: "b"}).Certificate {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		chain = append(chain, cert)
	}
	b.front = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b.mu.Lock()
		b.paths = append(b.paths, r.URL.Path)
		b.mu.Unlock()
		r.TLS = &tls.ConnectionState{PeerCertificates: chain}
		r.Header.Set("X-Remote-User", b.user)
		server.ServeHTTP(w, r)
	})
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { b.front.ServeHTTP(w, r) }))
	t.Cleanup(api.Close)
	b.post = connectTo(t, api.URL).Post
	return b
}

// connectTo returns the client of a kubeconfig for an API server.
func connectTo(t *testing.T, url string) *cluster.Client {
	t.Helper()
	file := filepath.Join(t.TempDir(), "config")
	text := `{"apiVersion": "v1", "kind": "Config", "current-context": "c",
"contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}], "users": [{"name": "u", "user": {}}],
"clusters": [{"name": "c", "cluster": {"server": "` + url + `"}}]}`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cl, err := cluster.Connect(cluster.Config{Kubeconfig: file})
	if err != nil {
		t.Fatal(err)
	}
	return cl
}

// tapped gives a pod a proxy that runs, and that id may watch.
func tapped(t *testing.T, p *corev1.Pod, id string) {
	t.Helper()
	config, err := json.Marshal(mesh.ProxyConfig{IdentityAddr: "i:1", DestinationAddr: "d:1", TokenFile: "t",
		TrustRootsFile: "r", TapID: id, ControlPort: 4190})
	if err != nil {
		t.Fatal(err)
	}
	p.Spec.InitContainers[0].Env = []corev1.EnvVar{{Name: mesh.ProxyConfigEnv, Value: string(config)}}
	p.Status.PodIP = "10.0.0.7"
	started := true
	p.Status.InitContainerStatuses = []corev1.ContainerStatus{{Name: mesh.ProxyContainer, Ready: true, Started: &started,
		State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}}
}

// offerTap makes the injector turn tap on for pods from now on.
func (b *tapBed) offerTap(t *testing.T) {
	t.Helper()
	b.untyped = append(b.untyped, &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
		"metadata": map[string]any{"name": mesh.TapAPIService},
		"spec":     map[string]any{"service": map[string]any{"name": mesh.TapName, "namespace": mesh.VizNamespace}},
	}})
	b.react = func(typed *fake.Clientset, _ *metadatafake.FakeMetadataClient) {
		config := &corev1.ConfigMap{Data: map[string]string{"values": "proxy: {tap: {enabled: auto}}"}}
		config.Namespace, config.Name = "tulle", installation.ConfigMap
		if err := typed.Tracker().Add(config); err != nil {
			t.Fatal(err)
		}
	}
}

func (b *tapBed) podsOf(_ context.Context, namespace, _ string) (out []corev1.Pod, err error) {
	for _, p := range b.pods {
		if p.Namespace == namespace {
			out = append(out, *p)
		}
	}
	return out, nil
}

// watch shows the messages, and that all targets are watched.
func (b *tapBed) watch(ctx context.Context, targets []tap.Target, q tap.Query, emit func(tap.Message) error) error {
	b.mu.Lock()
	b.asked = append(b.asked, q)
	b.mu.Unlock()
	n := len(targets)
	for _, m := range append(slices.Clone(b.messages), tap.Message{Watching: &n}) {
		if err := emit(m); err != nil {
			return err
		}
	}
	if b.then != nil {
		b.then(ctx)
	}
	return nil
}

// ends runs a command whose stream ends.
func (b *tapBed) ends(t *testing.T, args string) result {
	t.Helper()
	r := b.run(t, "shop", strings.Fields(args)...)
	if r.fault == nil || r.fault.Error() != "the tap server ended the stream" {
		t.Errorf("error %v", r.fault)
	}
	r.fault = nil
	return r
}

// seen returns what was asked so far.
func (b *tapBed) seen() (asked []tap.Query, paths []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.asked), slices.Clone(b.paths)
}

// untilCancelled keeps a watch open.
func untilCancelled(ctx context.Context) { <-ctx.Done() }

// call is one request as a proxy shows it.
type call struct {
	proxy        string // the pod
	id           uint64
	outbound     bool
	method, path string
	status       int
	took         time.Duration
	grpc         int16 // -1 for a request that is not gRPC
	failure      string
	route        string
}

// messages are those of the three events.
func (c call) messages() []tap.Message {
	src := tap.Endpoint{IP: "10.0.0.3", Port: 40000,
		Metadata: map[string]string{"namespace": "shop", "pod": "web-5d8f7c-a",
			"deployment": "web", "serviceaccount": "web"}}
	dst := tap.Endpoint{IP: "10.0.0.4", Port: 8080, Metadata: map[string]string{"namespace": "shop", "pod": "api-5d8f7c-a",
		"deployment": "api", "serviceaccount": "api"}}
	direction := "INBOUND"
	if c.outbound {
		direction = "OUTBOUND"
		dst.Metadata["tls"], dst.Metadata["server_id"] = "true", "spiffe://cluster.local/ns/shop/sa/api"
	} else {
		src.Metadata["tls"], src.Metadata["client_id"] = "true", "spiffe://cluster.local/ns/shop/sa/web"
	}
	event := func() *tap.Event {
		e := &tap.Event{Source: src, Destination: dst, ProxyDirection: direction, Proxy: "shop/" + c.proxy,
			Timestamp: time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC), Server: "server/api-http"}
		if c.route != "" {
			e.RouteMeta = map[string]string{"route": c.route, "kind": "HTTPRoute", "namespace": "shop"}
		}
		return e
	}
	id := tap.StreamID{Base: 1, Stream: c.id}
	begin, head, end := event(), event(), event()
	begin.RequestInit = &tap.RequestInit{ID: id, Method: c.method, Scheme: "http", Authority: "api.shop:80", Path: c.path,
		Headers: []tap.Header{{Name: "authorization", ValueStr: "[redacted]"}}}
	head.ResponseInit = &tap.ResponseInit{ID: id, HTTPStatus: c.status,
		SinceRequestInit: tap.Duration{Nanos: int32(c.took / 2)}}
	end.ResponseEnd = &tap.ResponseEnd{ID: id, SinceRequestInit: tap.Duration{Nanos: int32(c.took)},
		SinceResponseInit: tap.Duration{Nanos: int32(c.took / 2)}, ResponseBytes: 13, GRPCStatusCode: max(c.grpc, 0),
		GRPC: c.grpc >= 0, Error: c.failure, Attempts: 1}
	return []tap.Message{{Event: begin}, {Event: head}, {Event: end}}
}

// traffic is what the golden files show: requests of both directions, gRPC, a failure, a hostile path, a connection
// that is not HTTP, and notices.
func traffic() (out []tap.Message) {
	for _, c := range []call{
		{proxy: "api-5d8f7c-a", id: 1, method: "GET", path: "/books?page=2", status: 200, took: 246 * time.Microsecond,
			grpc:  -1,
			route: "api-get"},
		{proxy: "web-5d8f7c-a", id: 7, outbound: true, method: "GET", path: "/books?page=3", status: 200,
			took: 2 * time.Millisecond, grpc: -1},
		{proxy: "api-5d8f7c-a", id: 2, method: "POST", path: "/shop.Books/List", status: 200, took: 800 * time.Millisecond,
			grpc: 14},
		{proxy: "api-5d8f7c-a", id: 3, method: "POST", path: "/books", status: 503, took: 5 * time.Millisecond, grpc: -1,
			failure: "no_endpoint"},
		{proxy: "api-5d8f7c-a", id: 4, method: "GET", path: "/\x1b[31m\u202e\nforged", status: 404,
			took: 90 * time.Microsecond, grpc: -1},
		{proxy: "api-5d8f7c-a", id: 5, method: "GET", path: "/books?page=4", status: 200, took: 3 * time.Millisecond,
			grpc:  -1,
			route: "api-get"},
	} {
		out = append(out, c.messages()...)
	}
	db := call{proxy: "web-5d8f7c-a", outbound: true}.messages()
	id := tap.StreamID{Base: 1, Stream: 9}
	opened, closed := db[0].Event, db[2].Event
	opened.RequestInit, closed.ResponseEnd = nil, nil
	opened.ConnectionOpen = &tap.ConnectionOpen{ID: id}
	closed.ConnectionClose = &tap.ConnectionClose{ID: id, SinceOpen: tap.Duration{Seconds: 3}, ReadBytes: 2048,
		WriteBytes: 512}
	return append(out, tap.Message{Event: opened}, tap.Message{Event: closed},
		tap.Message{Notice: &tap.Notice{Proxy: "shop/api-5d8f7c-b", Kind: tap.Unreachable, Text: "its proxy does not run"}},
		tap.Message{Notice: &tap.Notice{Proxy: "shop/api-5d8f7c-c", Kind: tap.Unreachable, Text: "its proxy does not run"}},
		tap.Message{Notice: &tap.Notice{Proxy: "shop/api-5d8f7c-d", Kind: tap.Ended, Text: "the proxy ended the stream"}},
		tap.Message{Notice: &tap.Notice{Proxy: "shop/api-5d8f7c-a", Kind: tap.Skipped, Count: 40}},
		tap.Message{Notice: &tap.Notice{Proxy: "shop/api-5d8f7c-a", Kind: tap.Lost, Count: 2}})
}

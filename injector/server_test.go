package injector

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	admissionv1 "k8s.io/api/admission/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/kubernetes/fake"
	metadatafake "k8s.io/client-go/metadata/fake"

	"github.com/tulle-mesh/tulle/internal/daemon"
	"github.com/tulle-mesh/tulle/mesh"
)

// TestServer runs the whole webhook against a fake API server, and calls it the way a real one does: over TLS, trusting
// what the webhook configuration announces, at the Service's name.
func TestServer(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	client := fake.NewClientset(installed())
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	configFile := filepath.Join(t.TempDir(), "values")
	if err := os.WriteFile(configFile, []byte("version: v9\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	ready := &daemon.Readiness{}
	announced := newSignal()
	server, err := New(Config{
		Listener: lis, Namespace: "tulle", ConfigFile: configFile, Linger: 2 * time.Second, Client: client,
		Metadata: objects(t), Dynamic: dynamicfake.NewSimpleDynamicClient(runtime.NewScheme()),
		Log: zap.NewNop(), Registry: prometheus.NewRegistry(), Readiness: ready,
	})
	if err != nil {
		t.Fatal(err)
	}
	wrapped := server.announced
	server.announced = func() { wrapped(); announced.set() }

	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx) }()
	announced.wait(t)
	if waiting := ready.Waiting(); len(waiting) > 0 {
		t.Errorf("not ready: %v", waiting)
	}

	config := get(t, client, configurationName)
	if got := len(get(t, client, optedInName).Webhooks); got != 1 {
		t.Errorf("%d webhooks for namespaces that opted in, want one", got)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(config.Webhooks[0].ClientConfig.CABundle)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots,
		ServerName: "tulle-proxy-injector.tulle.svc"}}
	api := &http.Client{Transport: transport, Timeout: 10 * time.Second}
	resp, err := api.Post("https://"+lis.Addr().String()+"/", "application/json", strings.NewReader(request("shop", "pods",
		`{"metadata":{"ownerReferences":[{"apiVersion":"apps/v1","kind":"ReplicaSet","name":"web-1","uid":"rs","controller":true}]},
"spec":{"containers":[{"name":"web","image":"x"}]}}`)))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	var out admissionv1.AdmissionReview
	if err := json.NewDecoder(resp.Body).Decode(&out); err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"ghcr.io/tulle-mesh/proxy:v9", `"linkerd.io/proxy-deployment":"web"`} {
		if !strings.Contains(string(out.Response.Patch), part) {
			t.Errorf("patch lacks %s: %s", part, out.Response.Patch)
		}
	}
	transport.CloseIdleConnections()
	cancel()
	// An API server that has not heard of it yet comes with a new connection.
	late, err := api.Post("https://"+lis.Addr().String()+"/", "application/json", strings.NewReader(request("plain", "services", "{}")))
	if err != nil {
		t.Fatalf("after the end was announced: %v", err)
	}
	_ = late.Body.Close()
	transport.CloseIdleConnections()
	if err := <-ended; err != nil && err != context.Canceled {
		t.Error(err)
	}
}

// objects is the metadata of the cluster: the namespaces and the ReplicaSet of a Deployment.
func objects(t *testing.T) *metadatafake.FakeMetadataClient {
	t.Helper()
	scheme := metadatafake.NewTestScheme()
	if err := metav1.AddMetaToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	controller := true
	partial := func(gvk metav1.TypeMeta, meta metav1.ObjectMeta) runtime.Object {
		return &metav1.PartialObjectMetadata{TypeMeta: gvk, ObjectMeta: meta}
	}
	ns := metav1.TypeMeta{APIVersion: "v1", Kind: "Namespace"}
	return metadatafake.NewSimpleMetadataClient(scheme,
		partial(ns, metav1.ObjectMeta{Name: "tulle", UID: "uid-of-tulle"}),
		partial(ns, metav1.ObjectMeta{Name: "shop", Annotations: map[string]string{mesh.InjectAnnotation: "enabled"}}),
		partial(metav1.TypeMeta{APIVersion: appsv1.SchemeGroupVersion.String(), Kind: "ReplicaSet"}, metav1.ObjectMeta{
			Name: "web-1", Namespace: "shop", UID: "rs",
			OwnerReferences: []metav1.OwnerReference{
				{APIVersion: "apps/v1", Kind: "Deployment", Name: "web", UID: "d", Controller: &controller}},
		}),
	)
}

func TestOwnerLookup(t *testing.T) {
	client := objects(t)
	l := newOwnerLookup(client, zap.NewNop())
	controller := true
	pod := func(kind, version, name string, uid types.UID) *corev1.Pod {
		return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{OwnerReferences: []metav1.OwnerReference{
			{APIVersion: version, Kind: kind, Name: name, UID: uid, Controller: &controller},
		}}}
	}
	for _, tt := range []struct {
		name string
		pod  *corev1.Pod
		want string
	}{
		{"a pod of its own", &corev1.Pod{}, " "},
		{"a StatefulSet is the owner itself", pod("StatefulSet", "apps/v1", "db", "s"), "StatefulSet db"},
		{"a ReplicaSet leads to its Deployment", pod("ReplicaSet", "apps/v1", "web-1", "rs"), "Deployment web"},
		{"a ReplicaSet that is gone stands for itself", pod("ReplicaSet", "apps/v1", "web-2", "x"), "ReplicaSet web-2"},
		{"a ReplicaSet with another UID is not believed", pod("ReplicaSet", "apps/v1", "web-1", "forged"),
			"ReplicaSet web-1"},
		{"another group's ReplicaSet is not looked up", pod("ReplicaSet", "example.org/v1", "web-1", "rs"),
			"ReplicaSet web-1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			owner, _ := l.owner(t.Context(), "shop", tt.pod)
			if got := owner.Kind + " " + owner.Name; got != tt.want {
				t.Errorf("owner is %q, want %q", got, tt.want)
			}
		})
	}
	client.ClearActions()
	if owner, _ := l.owner(t.Context(), "shop", pod("ReplicaSet", "apps/v1", "web-1", "rs")); owner.Name != "web" ||
		len(client.Actions()) > 0 {
		t.Errorf("owner is %v after %d requests, want it from memory", owner, len(client.Actions()))
	}
}

// TestNamespaceBeforeTheWatch: a namespace that the watch has not brought is asked for.
func TestNamespaceBeforeTheWatch(t *testing.T) {
	x, err := newNamespaceIndex(objects(t), func() {})
	if err != nil {
		t.Fatal(err)
	}
	ns, err := x.namespace(t.Context(), "shop") // the informer does not run
	if err != nil || ns.Annotations[mesh.InjectAnnotation] != "enabled" {
		t.Errorf("namespace is %v, %v", ns, err)
	}
	if _, err := x.namespace(t.Context(), "nowhere"); err == nil {
		t.Error("a namespace that does not exist is no error")
	}
}

func TestBadConfigurationKeepsTheLast(t *testing.T) {
	file := filepath.Join(t.TempDir(), "values")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("proxy: {logLevel: shout}\n")
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = lis.Close() }()
	cfg := Config{Listener: lis, Namespace: "tulle", ConfigFile: file, Client: fake.NewClientset(), Metadata: objects(t),
		Dynamic: dynamicfake.NewSimpleDynamicClient(runtime.NewScheme()),
		Log:     zap.NewNop(), Registry: prometheus.NewRegistry()}
	if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), "shout") {
		t.Errorf("error at the start is %v, want one that names the value", err)
	}
	write("version: v1\n")
	cfg.Registry = prometheus.NewRegistry()
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	write("versoin: v2\n")
	if err := s.readValues(); err == nil || s.values.Load().Version != "v1" {
		t.Errorf("version is %s, error %v, want v1 and an error", s.values.Load().Version, err)
	}
	write("version: v2\n")
	if err := s.readValues(); err != nil || s.values.Load().Version != "v2" {
		t.Errorf("version is %s, error %v, want v2", s.values.Load().Version, err)
	}
}

func TestOneAddressCannotTakeEveryConnection(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "values")
	if err := os.WriteFile(file, []byte("version: v9\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	server, err := New(Config{Listener: lis, Namespace: "tulle", ConfigFile: file, Client: fake.NewClientset(installed()),
		Metadata: objects(t), Dynamic: dynamicfake.NewSimpleDynamicClient(runtime.NewScheme()),
		Log: zap.NewNop(), Registry: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx) }()
	defer func() { cancel(); <-ended }()
	dial := func(local string) net.Conn {
		t.Helper()
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(local)}}
		conn, err := d.Dial("tcp", lis.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		_ = conn.SetReadDeadline(time.Now().Add(3 * time.Second)) // before the handshake is given up
		return conn
	}
	first := dial("127.0.0.2")
	for range connections.PerAddress {
		defer dial("127.0.0.2").Close()
	}
	if _, err := first.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("the oldest connection of the address did not make room")
	}
	if got := testutil.ToFloat64(server.metrics.errors.WithLabelValues(errConnections)); got != 1 {
		t.Errorf("counted %v refusals, want 1", got)
	}
}

// signal is set once and waited for.
type signal struct{ c chan struct{} }

func newSignal() *signal { return &signal{make(chan struct{}, 1)} }

func (s *signal) set() {
	select {
	case s.c <- struct{}{}:
	default:
	}
}

func (s *signal) wait(t *testing.T) {
	t.Helper()
	select {
	case <-s.c:
	case <-time.After(20 * time.Second):
		t.Fatal("nothing was announced in 20 s")
	}
}

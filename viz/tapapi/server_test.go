package tapapi

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/viz/tap"
)

// The server waits half a second before it closes a connection whose body it did not read.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("net/http.(*conn).closeWriteAndWait"))
}

var self = mesh.ID{TrustDomain: "cluster.local", Namespace: "tulle-viz", ServiceAccount: "tap"}

// authority signs certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ca"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	leaf := a.sign(t, template)
	a.cert, a.key = leaf.Leaf, leaf.PrivateKey.(*ecdsa.PrivateKey)
	return a
}

// sign signs a template; with its own key while the authority has none.
func (a *authority) sign(t *testing.T, template *x509.Certificate) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	parent, signer := template, key
	if a.key != nil {
		parent, signer = a.cert, a.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

func (a *authority) leaf(t *testing.T, name string, usage x509.ExtKeyUsage) tls.Certificate {
	t.Helper()
	return a.sign(t, &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{usage},
	})
}

func (a *authority) pem() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw}))
}

// rig is a server with an API server in front of it.
type rig struct {
	front, serving *authority
	addr           string
	pods           []corev1.Pod
	reviews        chan authorizationv1.SubjectAccessReviewSpec
	watched        chan []tap.Target
	reviewErr      error
	watch          func(context.Context, []tap.Target, tap.Query, func(tap.Message) error) error // nil watches nothing
	review         func(user string) (allowed bool, err error)                                   // nil allows allowed
	logs           *observer.ObservedLogs
	server         *Server
}

// allowed is the only user who may watch, and only deployment web of namespace shop.
const allowed = "alice"

func startRig(t *testing.T, pods ...corev1.Pod) *rig {
	t.Helper()
	return startRigWith(t, nil, pods...)
}

// startRigWith starts a rig whose server has an edited configuration.
func startRigWith(t *testing.T, edit func(*Config), pods ...corev1.Pod) *rig {
	t.Helper()
	core, logs := observer.New(zap.InfoLevel)
	r := &rig{
		logs:  logs,
		front: newAuthority(t), serving: newAuthority(t), pods: pods,
		reviews: make(chan authorizationv1.SubjectAccessReviewSpec, 16), watched: make(chan []tap.Target, 16),
	}
	front, err := ParseFrontProxy(map[string]string{
		"requestheader-client-ca-file": r.front.pem(), "requestheader-allowed-names": `["front-proxy-client"]`,
		"requestheader-username-headers": `["X-Remote-User"]`, "requestheader-group-headers": `["X-Remote-Group"]`,
		"requestheader-extra-headers-prefix": `["X-Remote-Extra-"]`,
	})
	if err != nil {
		t.Fatal(err)
	}
	cert := r.serving.leaf(t, "tap", x509.ExtKeyUsageServerAuth)
	config := Config{
		FrontProxy: func() *FrontProxy { return front }, TLS: &tls.Config{Certificates: []tls.Certificate{cert}},
		ID: self, Log: zap.New(core), Registry: prometheus.NewRegistry(),
		Review: func(_ context.Context, spec authorizationv1.SubjectAccessReviewSpec) (
			authorizationv1.SubjectAccessReviewStatus, error,
		) {
			if r.review != nil {
				ok, err := r.review(spec.User)
				return authorizationv1.SubjectAccessReviewStatus{Allowed: ok}, err
			}
			r.reviews <- spec
			a := spec.ResourceAttributes
			ok := spec.User == allowed && a.Namespace == "shop" && a.Resource == "deployments" && a.Name == "web"
			return authorizationv1.SubjectAccessReviewStatus{Allowed: ok}, r.reviewErr
		},
		Pods: func(_ context.Context, namespace, _ string) ([]corev1.Pod, error) {
			var out []corev1.Pod
			for _, p := range r.pods {
				if p.Namespace == namespace {
					out = append(out, p)
				}
			}
			return out, nil
		},
		Watch: func(ctx context.Context, targets []tap.Target, q tap.Query, emit func(tap.Message) error) error {
			r.watched <- targets
			if r.watch != nil {
				return r.watch(ctx, targets, q, emit)
			}
			n := len(targets)
			return emit(tap.Message{Watching: &n})
		},
	}
	if edit != nil {
		edit(&config)
	}
	s := New(config)
	r.server = s
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r.addr = lis.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := s.Run(ctx, lis); err != nil {
			t.Errorf("run: %v", err)
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
	return r
}

// call sends a request with a certificate, if there is one, as the user that the headers name.
func (r *rig) call(t *testing.T, cert *tls.Certificate, method, path, body string, header http.Header) (int, string) {
	t.Helper()
	roots := x509.NewCertPool()
	roots.AddCert(r.serving.cert)
	config := &tls.Config{RootCAs: roots, ServerName: "localhost"}
	if cert != nil {
		config.Certificates = []tls.Certificate{*cert}
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}}
	req, err := http.NewRequest(method, "https://"+r.addr+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header = header
	res, err := client.Do(req)
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

func (r *rig) frontCert(t *testing.T) *tls.Certificate {
	t.Helper()
	cert := r.front.leaf(t, "front-proxy-client", x509.ExtKeyUsageClientAuth)
	return &cert
}

func as(name string) http.Header {
	return http.Header{"X-Remote-User": {name}, "X-Remote-Group": {"devs", "system:authenticated"},
		"X-Remote-Extra-Acme.com%2fproject": {"p1"}}
}

// webPod is a pod of deployment web whose proxy accepts the tap server tapID.
func webPod(name, tapID string, edit func(*corev1.Pod)) corev1.Pod {
	config, _ := json.Marshal(mesh.ProxyConfig{
		IdentityAddr: "i:1", DestinationAddr: "d:1", TokenFile: "t", TrustRootsFile: "r", TapID: tapID, ControlPort: 4190,
	})
	controller := true
	pod := corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "shop", Name: name, Labels: map[string]string{"pod-template-hash": "abc"},
			OwnerReferences: []metav1.OwnerReference{{Kind: "ReplicaSet", Name: "web-abc", Controller: &controller}},
		},
		Spec: corev1.PodSpec{ServiceAccountName: "web", InitContainers: []corev1.Container{{
			Name: mesh.ProxyContainer, Env: []corev1.EnvVar{{Name: mesh.ProxyConfigEnv, Value: string(config)}},
		}}},
		Status: corev1.PodStatus{Phase: corev1.PodRunning, PodIP: "10.0.0.7"},
	}
	if edit != nil {
		edit(&pod)
	}
	return pod
}

const webPath = "/apis/tap.linkerd.io/v1alpha1/watch/namespaces/shop/deployments/web/tap"

// TestWhoMayWatch is the table of who gets which answer. Nobody is reviewed whom the API server did not authenticate.
func TestWhoMayWatch(t *testing.T) {
	r := startRig(t, webPod("web-1", self.String(), nil))
	front := r.frontCert(t)
	other := func(old, new string) string { return strings.Replace(webPath, old, new, 1) }
	tooLarge := `{"method":"` + strings.Repeat("a", maxBody) + `"}`
	wrongName := r.front.leaf(t, "somebody", x509.ExtKeyUsageClientAuth)
	wrongUse := r.front.leaf(t, "front-proxy-client", x509.ExtKeyUsageServerAuth)
	stranger := newAuthority(t).leaf(t, "front-proxy-client", x509.ExtKeyUsageClientAuth)
	for name, test := range map[string]struct {
		cert     *tls.Certificate
		header   http.Header
		path     string
		body     string
		status   int
		says     string
		reviewed bool
	}{
		"an allowed user":              {front, as(allowed), webPath, "", 200, `"watching":1`, true},
		"an allowed user with filters": {front, as(allowed), webPath, `{"method":"GET","maxRps":5}`, 200, "", true},
		"a user without rights":        {front, as("bob"), webPath, "", 403, "verb watch on deployments/tap", true},
		"another deployment":           {front, as(allowed), other("/web/", "/db/"), "", 403, "", true},
		"another namespace":            {front, as(allowed), other("shop", "bank"), "", 403, "", true},
		"the whole namespace": {front, as(allowed), other("/deployments/web", ""), "", 403, "namespaces/tap",
			true},
		"no certificate":                  {nil, as(allowed), webPath, "", 401, "no client certificate", false},
		"a certificate of another CA":     {&stranger, as(allowed), webPath, "", 401, "not its own", false},
		"another name of the CA":          {&wrongName, as(allowed), webPath, "", 401, "not its name", false},
		"a serving certificate of the CA": {&wrongUse, as(allowed), webPath, "", 401, "not its own", false},
		"no user":                         {front, http.Header{}, webPath, "", 401, "names no user", false},
		"a body that names something else": {front, as(allowed), webPath, `{"target":{"name":"db"}}`, 400, "unknown field",
			true},
		"a rate beyond the bound": {front, as(allowed), webPath, `{"maxRps":1001}`, 400, "maxRps", true},
		"labels that are none": {front, as(allowed), webPath, `{"labelSelector":"a in"}`, 400, "labelSelector",
			true},
		"a large body": {front, as(allowed), webPath, tooLarge, 400, "too large", true},
		"a resource that is misspelled": {front, as(allowed), other("deployments", "deployment"), "", 404,
			"did you mean deployments?", false},
		"a name with a line break": {front, as(allowed), other("/web/", "/web%0aforged/"), "", 400, "no such name", false},
		"a path with more parts":   {front, as(allowed), other("/web/", "/web%2fdb/"), "", 404, "want /apis", false},
	} {
		t.Run(name, func(t *testing.T) {
			status, body := r.call(t, test.cert, "POST", test.path, test.body, test.header)
			if status != test.status || !strings.Contains(body, test.says) {
				t.Errorf("got %d %s, want %d %q", status, body, test.status, test.says)
			}
			if got := len(r.reviews) == 1; got != test.reviewed {
				t.Errorf("got %d reviews, want one: %v", len(r.reviews), test.reviewed)
			}
			if got := len(r.watched) == 1; got != (test.status == 200) {
				t.Errorf("got %d watches", len(r.watched))
			}
			for len(r.reviews)+len(r.watched) > 0 {
				select {
				case <-r.reviews:
				case <-r.watched:
				}
			}
		})
	}
}

// TestReviewNamesTheUser shows what the API server is asked.
func TestReviewNamesTheUser(t *testing.T) {
	r := startRig(t, webPod("web-1", self.String(), nil))
	if status, body := r.call(t, r.frontCert(t), "POST", webPath, "", as(allowed)); status != 200 {
		t.Fatalf("got %d %s", status, body)
	}
	want := authorizationv1.SubjectAccessReviewSpec{
		User: allowed, Groups: []string{"devs", "system:authenticated"},
		Extra: map[string]authorizationv1.ExtraValue{"acme.com/project": {"p1"}},
		ResourceAttributes: &authorizationv1.ResourceAttributes{
			Namespace: "shop", Verb: "watch", Group: "tap.linkerd.io", Version: "v1alpha1", Resource: "deployments",
			Subresource: "tap", Name: "web",
		},
	}
	if diff := cmp.Diff(want, <-r.reviews); diff != "" {
		t.Errorf("review (-want +got):\n%s", diff)
	}
	r.reviewErr = errors.New("away")
	if status, body := r.call(t, r.frontCert(t), "POST", webPath, "", as(allowed)); status != 500 {
		t.Errorf("without an answer: got %d %s, want 500", status, body)
	}
}

// TestTargets shows which proxies a request means, and what it says about the others.
func TestTargets(t *testing.T) {
	r := startRig(t,
		webPod("web-1", self.String(), nil),
		webPod("web-2", "", nil),
		webPod("web-3", "spiffe://cluster.local/ns/other/sa/tap", nil),
		webPod("web-4", self.String(), func(p *corev1.Pod) { p.Spec.InitContainers = nil }),
		webPod("web-5", self.String(), func(p *corev1.Pod) { p.Status.PodIP = "" }),
		webPod("web-6", self.String(), func(p *corev1.Pod) { p.Status.Phase = corev1.PodSucceeded }),
		webPod("db-1", self.String(), func(p *corev1.Pod) { p.OwnerReferences[0].Name = "db-abc" }),
	)
	status, body := r.call(t, r.frontCert(t), "POST", webPath, "", as(allowed))
	if status != 200 {
		t.Fatalf("got %d %s", status, body)
	}
	targets := <-r.watched
	if len(targets) != 1 || targets[0].Pod != "web-1" || targets[0].Addr.String() != "10.0.0.7:4190" ||
		targets[0].ID.String() != "spiffe://cluster.local/ns/shop/sa/web" || targets[0].Ref.OwnerName != "web" {
		t.Errorf("targets: got %+v", targets)
	}
	notices := map[string]string{}
	for lines := bufio.NewScanner(strings.NewReader(body)); lines.Scan(); {
		var m tap.Message
		if err := json.Unmarshal(lines.Bytes(), &m); err != nil {
			t.Fatal(err)
		}
		if m.Notice != nil {
			notices[m.Notice.Proxy] = m.Notice.Text
		}
	}
	for pod, says := range map[string]string{
		"shop/web-2": "tap is turned off", "shop/web-3": "only spiffe://cluster.local/ns/other/sa/tap",
		"shop/web-4": "no proxy", "shop/web-5": "does not run",
	} {
		if !strings.Contains(notices[pod], says) {
			t.Errorf("%s: got %q, want %q", pod, notices[pod], says)
		}
	}
	if len(notices) != 4 {
		t.Errorf("notices: got %v", notices)
	}
	r.pods = r.pods[1:2]
	if status, body := r.call(t, r.frontCert(t), "POST", webPath, "", as(allowed)); status != 404 ||
		!strings.Contains(body, "tap is turned off") {
		t.Errorf("nothing to watch: got %d %s", status, body)
	}
}

// TestTargetsOfAReplicaSet: the ReplicaSet of a Deployment has the Deployment's pods too.
func TestTargetsOfAReplicaSet(t *testing.T) {
	s := New(Config{ID: self, Registry: prometheus.NewRegistry()})
	pods := []corev1.Pod{webPod("web-1", self.String(), nil)}
	for what, want := range map[path]int{
		{"shop", "replicasets", "web-abc"}: 1, {"shop", "deployments", "web"}: 1, {"shop", "replicasets", "web"}: 0,
		{"shop", "jobs", "web-abc"}: 0,
	} {
		if targets, _ := s.targets(what, pods); len(targets) != want {
			t.Errorf("%s: got %d targets, want %d", what, len(targets), want)
		}
	}
}

// TestDiscovery shows the documents that the API server and kubectl ask for.
func TestDiscovery(t *testing.T) {
	r := startRig(t)
	for path, want := range map[string]string{
		"/apis": `"kind":"APIGroupList"`, "/apis/tap.linkerd.io": `"name":"tap.linkerd.io"`,
		"/apis/tap.linkerd.io/v1alpha1": `"name":"deployments/tap"`,
	} {
		if status, body := r.call(t, r.frontCert(t), "GET", path, "", as("bob")); status != 200 ||
			!strings.Contains(body, want) {
			t.Errorf("%s: got %d %s", path, status, body)
		}
	}
	for _, path := range []string{"/openapi/v2", "/openapi/v3"} {
		status, body := r.call(t, r.frontCert(t), "GET", path, "", as("system:aggregator"))
		if refused := r.logs.FilterMessage("request refused").Len(); status != 404 || refused > 0 {
			t.Errorf("%s: got %d %s and %d lines in the log, want 404 and none", path, status, body, refused)
		}
	}
	if status, _ := r.call(t, r.frontCert(t), "GET", webPath, "", as(allowed)); status != 405 {
		t.Errorf("GET: got %d, want 405", status)
	}
	if status, _ := r.call(t, nil, "GET", "/apis", "", as(allowed)); status != 401 {
		t.Errorf("without a certificate: got %d, want 401", status)
	}
}

func TestFrontProxySettings(t *testing.T) {
	ca := newAuthority(t).pem()
	for name, data := range map[string]map[string]string{
		"nothing":             {},
		"no certificate":      {"requestheader-client-ca-file": "x", "requestheader-username-headers": `["X-Remote-User"]`},
		"no headers of users": {"requestheader-client-ca-file": ca},
		"a list that is none": {"requestheader-client-ca-file": ca, "requestheader-username-headers": "X-Remote-User"},
	} {
		if _, err := ParseFrontProxy(data); err == nil {
			t.Errorf("%s: got no error", name)
		}
	}
}

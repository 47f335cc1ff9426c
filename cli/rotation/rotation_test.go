package rotation

import (
	"bufio"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/tulle-mesh/tulle/cli/cluster"
	"github.com/tulle-mesh/tulle/identity/ca"
	"github.com/tulle-mesh/tulle/install"
	"github.com/tulle-mesh/tulle/mesh"
)

// world is a cluster whose identity controller and pods move on a little each time that a proxy is asked.
type world struct {
	t      *testing.T
	client *fake.Clientset
	own    bool // Tulle makes anchor and issuer

	mu     sync.Mutex // guards the fields below
	pods   []*peer
	ticks  int
	frozen bool // nothing moves
	writes int
	// stop is called after the write of this number; refuse lets it fail instead.
	stopAt int
	stop   func()
	refuse bool
}

// peer is a proxy: the anchors that it trusts, and its certificate's issuer.
type peer struct {
	name   string
	roots  []*x509.Certificate
	issuer *x509.Certificate
}

func pair(t *testing.T, f func() (ca.Pair, error)) ca.Pair {
	t.Helper()
	p, err := f()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func newWorld(t *testing.T, own bool, values string) *world {
	t.Helper()
	w := &world{t: t, own: own, stopAt: -1}
	anchor := pair(t, func() (ca.Pair, error) { return ca.NewAnchor("cluster.local", time.Now()) })
	issuer := pair(t, func() (ca.Pair, error) { return ca.NewIssuer(anchor, time.Now()) })
	meta := func(name string, annotations map[string]string) metav1.ObjectMeta {
		return metav1.ObjectMeta{Namespace: "tulle", Name: name, Annotations: annotations}
	}
	objects := []runtime.Object{
		&corev1.ConfigMap{ObjectMeta: meta(mesh.InstallConfigMap, nil), Data: map[string]string{"install": values}},
		&corev1.ConfigMap{ObjectMeta: meta(mesh.TrustRootsConfigMap, nil),
			Data: map[string]string{mesh.TrustRootsKey: string(anchor.CertPEM)}},
		secretOf(mesh.IssuerSecret, issuer, w.mark(issuer)),
	}
	if own {
		objects = append(objects, secretOf(mesh.AnchorSecret, anchor, nil))
	}
	roots, _ := mesh.ParseRoots(anchor.CertPEM)
	chain, _, _ := install.ParseCertificates(string(issuer.CertPEM))
	for i := range 5 {
		name := fmt.Sprint("web-", i)
		w.pods = append(w.pods, &peer{name: name, roots: roots, issuer: chain[0]})
		objects = append(objects, &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, UID: types.UID(name)},
			Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: mesh.ProxyContainer, Ports: []corev1.ContainerPort{
				{Name: "tulle-proxy", ContainerPort: 4143}, {Name: "tulle-admin", ContainerPort: 4191}}}}},
			Status: corev1.PodStatus{Phase: corev1.PodRunning}})
	}
	objects = append(objects,
		&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "without-proxy", UID: "without"}})
	w.client = fake.NewClientset(objects...)
	w.client.PrependReactor("get", "configmaps", func(clienttesting.Action) (bool, runtime.Object, error) {
		w.tick()
		return false, nil, nil
	})
	for _, verb := range []string{"patch", "update"} {
		w.client.PrependReactor(verb, "*", func(clienttesting.Action) (bool, runtime.Object, error) { return w.written() })
	}
	return w
}

func (w *world) mark(issuer ca.Pair) map[string]string {
	if !w.own {
		return nil
	}
	sum := sha256.Sum256(issuer.CertPEM)
	return map[string]string{mesh.MadeIssuerAnnotation: hex.EncodeToString(sum[:16])}
}

func secretOf(name string, p ca.Pair, annotations map[string]string) *corev1.Secret {
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "tulle", Name: name, Annotations: annotations},
		Type: corev1.SecretTypeTLS, Data: map[string][]byte{"tls.crt": p.CertPEM, "tls.key": p.KeyPEM}}
}

// written counts the command's writes, and ends the command before or after the one that is to be the last.
func (w *world) written() (bool, runtime.Object, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.writes++
	if w.writes-1 != w.stopAt {
		return false, nil, nil
	}
	w.stop()
	if w.refuse {
		return true, nil, context.Canceled
	}
	return false, nil, nil
}

func (w *world) tracker() clienttesting.ObjectTracker { return w.client.Tracker() }

func get[T any](w *world, resource, name string) *T {
	obj, err := w.tracker().Get(corev1.SchemeGroupVersion.WithResource(resource), "tulle", name)
	if err != nil {
		return nil
	}
	return any(obj).(*T)
}

func (w *world) put(resource string, obj runtime.Object) {
	gvr := corev1.SchemeGroupVersion.WithResource(resource)
	if w.tracker().Update(gvr, obj, "tulle") != nil {
		if err := w.tracker().Create(gvr, obj, "tulle"); err != nil {
			w.t.Error(err)
		}
	}
}

// tick lets the identity controller do one thing, and one pod get what is new for it.
func (w *world) tick() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.frozen {
		return
	}
	w.ticks++
	roots := get[corev1.ConfigMap](w, "configmaps", mesh.TrustRootsConfigMap)
	secret := get[corev1.Secret](w, "secrets", mesh.IssuerSecret)
	chain, _, _ := install.ParseCertificates(string(secret.Data["tls.crt"]))
	bundle, err := mesh.ParseRoots([]byte(roots.Data[mesh.TrustRootsKey]))
	if err != nil {
		w.t.Error(err)
	}
	if w.own {
		w.identity(roots, secret, bundle)
	}
	p := w.pods[w.ticks%len(w.pods)]
	if w.ticks%3 == 0 {
		p.roots = bundle
	} else if w.ticks%7 == 0 {
		p.issuer = chain[0]
	}
	for _, a := range w.pods { // every proxy verifies every other, at every moment
		for _, b := range w.pods {
			if !signedByAny(b.roots, a.issuer) {
				w.t.Errorf("tick %d: %s does not trust the certificate of %s", w.ticks, b.name, a.name)
			}
		}
	}
}

func signedByAny(roots []*x509.Certificate, cert *x509.Certificate) bool {
	for _, r := range roots {
		if signs(r, []*x509.Certificate{cert}, time.Now()) {
			return true
		}
	}
	return false
}

func (w *world) identity(roots *corev1.ConfigMap, secret *corev1.Secret, bundle []*x509.Certificate) {
	anchor := get[corev1.Secret](w, "secrets", mesh.AnchorSecret)
	asked := roots.Annotations[mesh.ReplaceAnchorAnnotation]
	if asked != "" && anchor.Annotations[mesh.MadeForAnnotation] != asked {
		made := pair(w.t, func() (ca.Pair, error) { return ca.NewAnchor("cluster.local", time.Now()) })
		w.put("secrets", secretOf(mesh.AnchorSecret, made, map[string]string{mesh.MadeForAnnotation: asked}))
		return
	}
	current, _ := mesh.ParseRoots(anchor.Data["tls.crt"])
	if !signedByAny(bundle, current[0]) {
		next := roots.DeepCopy()
		next.Data[mesh.TrustRootsKey] += string(anchor.Data["tls.crt"])
		w.put("configmaps", next)
		return
	}
	chain, _, _ := install.ParseCertificates(string(secret.Data["tls.crt"]))
	if !signs(current[0], chain, time.Now()) && roots.Annotations[mesh.IssuerSwitchAnnotation] == mesh.IssuerSwitchNow {
		issuer := pair(w.t, func() (ca.Pair, error) {
			return ca.NewIssuer(ca.Pair{CertPEM: anchor.Data["tls.crt"], KeyPEM: anchor.Data["tls.key"]}, time.Now())
		})
		w.put("secrets", secretOf(mesh.IssuerSecret, issuer, w.mark(issuer)))
	}
}

// dial answers as a proxy's admin port.
func (w *world) dial(_ context.Context, _, pod string, port int) (net.Conn, error) {
	w.tick()
	if port != 4191 {
		return nil, fmt.Errorf("port %d is not the admin port", port)
	}
	near, far := net.Pipe()
	go func() {
		defer far.Close()
		if _, err := http.ReadRequest(bufio.NewReader(far)); err != nil {
			return
		}
		w.mu.Lock()
		var body string
		for _, p := range w.pods {
			if p.name == pod {
				body = fmt.Sprintf("%s %v\n%s %v\n", rootsMetric, float64(mesh.RootsHash(p.roots)), issuerMetric,
					float64(mesh.KeyHash(p.issuer.SubjectKeyId)))
			}
		}
		w.mu.Unlock()
		fmt.Fprintf(far, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	}()
	return near, nil
}

func (w *world) run(ctx context.Context, o Options) error {
	o.Namespace, o.Poll = "tulle", time.Millisecond
	if o.Out == nil {
		o.Out = io.Discard
	}
	return Run(ctx, &cluster.Client{Interface: w.client, DialPod: w.dial}, o)
}

// look returns the anchors of the bundle and the rest of the rotation's state.
func (w *world) look() (anchors []*x509.Certificate, annotations map[string]string) {
	roots := get[corev1.ConfigMap](w, "configmaps", mesh.TrustRootsConfigMap)
	anchors, _ = mesh.ParseRoots([]byte(roots.Data[mesh.TrustRootsKey]))
	return anchors, roots.Annotations
}

// given makes an anchor and an issuer, as a user has them in files.
func given(t *testing.T) Given {
	anchor := pair(t, func() (ca.Pair, error) { return ca.NewAnchor("cluster.local", time.Now()) })
	issuer := pair(t, func() (ca.Pair, error) { return ca.NewIssuer(anchor, time.Now()) })
	return Given{string(anchor.CertPEM), string(issuer.CertPEM), string(issuer.KeyPEM)}
}

// TestRotationGoesOnWhereverItWasKilled ends the command before and after each of its writes, and runs it again. At no
// moment a proxy does not trust another.
func TestRotationGoesOnWhereverItWasKilled(t *testing.T) {
	for _, own := range []bool{true, false} {
		for _, refuse := range []bool{true, false} {
			for stopAt := 0; ; stopAt++ {
				w := newWorld(t, own, "{}")
				before, _ := w.look()
				var files Given
				if !own {
					files = given(t)
				}
				ctx, cancel := context.WithCancel(t.Context())
				w.stopAt, w.stop, w.refuse = stopAt, cancel, refuse
				err := w.run(ctx, Options{Given: files})
				cancel()
				killed := w.writes > stopAt
				if killed && err == nil && refuse {
					t.Errorf("own %v, killed at write %d: no error", own, stopAt)
				}
				if killed {
					if _, annotations := w.look(); err != nil || annotations[mesh.RotationAnnotation] != "" {
						err = w.run(t.Context(), Options{Given: files})
					}
				}
				after, annotations := w.look()
				if err != nil || len(after) != 1 || after[0].Equal(before[0]) || annotations[mesh.RotationAnnotation] != "" {
					t.Fatalf("own %v, killed at write %d: error %v, %d anchors, annotations %v", own, stopAt, err, len(after),
						annotations)
				}
				if !killed {
					if stopAt < 4 {
						t.Errorf("own %v: %d writes in all, want at least one for each phase", own, stopAt)
					}
					break
				}
			}
		}
	}
}

func TestStatusAndDryRunChangeNothing(t *testing.T) {
	w := newWorld(t, true, "{}")
	var out strings.Builder
	if err := w.run(t.Context(), Options{Status: true, Out: &out}); err != nil || !strings.Contains(out.String(),
		"There is no rotation") {
		t.Errorf("error %v, got %s", err, out.String())
	}
	if err := w.run(t.Context(), Options{DryRun: true, Out: &out}); err != nil || !strings.Contains(out.String(),
		"This would begin a rotation") || w.writes != 0 {
		t.Errorf("error %v, %d writes, got %s", err, w.writes, out.String())
	}
	// Killed after its first write, it has a status.
	ctx, cancel := context.WithCancel(t.Context())
	w.stopAt, w.stop = 0, cancel
	if err := w.run(ctx, Options{}); err == nil || !strings.Contains(err.Error(), "the same command goes on") {
		t.Errorf("got %v; want what to do", err)
	}
	writes := w.writes
	for range 40 {
		w.tick()
	}
	w.frozen, w.pods[2].roots = true, w.pods[2].roots[:1]
	out.Reset()
	if err := w.run(t.Context(), Options{Status: true, Out: &out}); err != nil || w.writes != writes {
		t.Errorf("error %v, %d writes", err, w.writes-writes)
	}
	for _, want := range []string{"→ 1. add", "4 of 5 proxies have acknowledged",
		"not yet: shop/web-2: has the former one", "  2. switch"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("status lacks %q:\n%s", want, out.String())
		}
	}
}

func TestRotationRefuses(t *testing.T) {
	files, other := given(t), given(t)
	for name, test := range map[string]struct {
		own    bool
		values string
		given  Given
		want   string
	}{
		"files where Tulle makes them": {true, "{}", files, "give no files"},
		"no files":                     {false, "{}", Given{}, "--identity-trust-anchors-file"},
		"no issuer":                    {false, "{}", Given{Anchors: files.Anchors}, "--identity-issuer-certificate-file"},
		"no certificate": {false, "{}", Given{"x", files.IssuerCert, files.IssuerKey},
			"holds no PEM certificate"},
		"an issuer of another anchor": {false, "{}", Given{files.Anchors, other.IssuerCert, other.IssuerKey},
			"--identity-issuer-certificate-file"},
		"an issuer that another program keeps": {false, "identity: {issuer: {scheme: kubernetes.io/tls}}", files,
			"another program keeps the issuer"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, test.own, test.values)
			err := w.run(t.Context(), Options{Given: test.given})
			if err == nil || !strings.Contains(err.Error(), test.want) || w.writes != 0 {
				t.Errorf("got %v after %d writes; want %q and none", err, w.writes, test.want)
			}
		})
	}
}

// TestSilentProxyHoldsTheRotation: a proxy that does not answer is named, and can be skipped.
func TestSilentProxyHoldsTheRotation(t *testing.T) {
	w := newWorld(t, true, "{}")
	silent := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "old", UID: "old"},
		Spec:   corev1.PodSpec{Containers: []corev1.Container{{Name: mesh.ProxyContainer}}},
		Status: corev1.PodStatus{Phase: corev1.PodRunning}}
	if err := w.tracker().Create(corev1.SchemeGroupVersion.WithResource("pods"), silent, "shop"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var out notify
	out.then = cancel
	out.when = "5 of 6 have"
	if err := w.run(ctx, Options{Out: &out}); err == nil || !strings.Contains(out.String(), "not yet: shop/old (") {
		t.Errorf("error %v, got %s", err, out.String())
	}
	if err := w.run(t.Context(), Options{Skip: []string{"shop/old"}}); err != nil {
		t.Error(err)
	}
}

// notify calls then when a text was written.
type notify struct {
	strings.Builder
	when string
	then func()
}

func (n *notify) Write(p []byte) (int, error) {
	if strings.Contains(string(p), n.when) {
		n.then()
	}
	return n.Builder.Write(p)
}

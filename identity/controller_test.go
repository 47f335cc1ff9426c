package identity

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/zap/zaptest"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clienttesting "k8s.io/client-go/testing"

	"github.com/tulle-mesh/tulle/api/pb"
	"github.com/tulle-mesh/tulle/identity/ca"
	"github.com/tulle-mesh/tulle/identity/workload"
	"github.com/tulle-mesh/tulle/mesh"
)

var api = mesh.ID{TrustDomain: "cluster.local", Namespace: "shop", ServiceAccount: "api"}

// testWorkload is a proxy's workload.Manager with its files. It runs until the test ends.
type testWorkload struct {
	*workload.Manager
	rootsFile string
}

func startWorkload(t *testing.T, c *Controller, id mesh.ID, bundle []byte) *testWorkload {
	t.Helper()
	dir := t.TempDir()
	w := &testWorkload{rootsFile: filepath.Join(dir, "ca-bundle.crt")}
	token := filepath.Join(dir, "token")
	w.mount(t, bundle)
	if err := os.WriteFile(token, []byte(id.Namespace+"/"+id.ServiceAccount+"/pod-0"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.Manager = workload.New(workload.Config{
		ID: id, Addr: c.cfg.Listener.Addr().String(), Server: server, TokenFile: token, TrustRootsFile: w.rootsFile,
		Log: zaptest.NewLogger(t).Named(id.ServiceAccount),
	})
	run(t, w.Run)
	awaitClosed(t, w.Ready(), "first certificate")
	return w
}

// mount does what the kubelet does after a change of the ConfigMap of the pod's namespace.
func (w *testWorkload) mount(t *testing.T, bundle []byte) {
	t.Helper()
	if err := os.WriteFile(w.rootsFile, bundle, 0o600); err != nil {
		t.Fatal(err)
	}
}

// awaitSigner waits until the issuer of an authority has signed the workload's certificate.
func (w *testWorkload) awaitSigner(t *testing.T, a *Authority) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(deadline)
	for {
		cert, err := w.ServerTLS().GetCertificate(nil)
		if err == nil && cert.Leaf.CheckSignatureFrom(a.Issuer.Certificate()) == nil {
			return
		}
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("%s did not renew under the new issuer", w.ID())
		}
	}
}

// talk connects two workloads and checks that each sees the other's identity.
func talk(t *testing.T, client, server *workload.Manager) error {
	t.Helper()
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	accepted := make(chan error, 1)
	go func() {
		conn := tls.Server(a, server.ServerTLS("x"))
		err := conn.Handshake()
		if err == nil {
			_, err = conn.Write([]byte{1})
		} else {
			a.Close()
		}
		accepted <- err
	}()
	conn := tls.Client(b, client.ClientTLS(server.ID(), "x"))
	err := conn.Handshake()
	if err == nil {
		_, err = conn.Read(make([]byte, 1))
	}
	b.Close()
	return errors.Join(err, <-accepted)
}

func TestBareClusterGetsAnAuthorityAndWorkloadsTheirCertificates(t *testing.T) {
	c := newCluster(t)
	controller := c.start(nil)
	awaitClosed(t, controller.Ready(), "readiness")
	source := c.awaitRoots(testNamespace, count(1))
	for _, namespace := range []string{"default", "shop"} {
		if got := c.awaitRoots(namespace, count(1)); string(got) != string(source) {
			t.Errorf("namespace %s has other trust anchors than %s", namespace, testNamespace)
		}
	}
	if err := talk(t, startWorkload(t, controller, web, source).Manager,
		startWorkload(t, controller, api, source).Manager); err != nil {
		t.Error(err)
	}
}

// TestIssuerKeyIsBesideEveryBundle: proxies learn of a new issuer from the file beside their trust anchors.
func TestIssuerKeyIsBesideEveryBundle(t *testing.T) {
	c := newCluster(t)
	controller := c.start(nil)
	awaitClosed(t, controller.Ready(), "readiness")
	authority, _ := controller.authority.Load()
	want := authority.issuerKey()
	if want == "" {
		t.Fatal("the issuer has no key identifier")
	}
	for _, namespace := range []string{testNamespace, "default", "shop"} {
		watching, err := c.CoreV1().ConfigMaps(namespace).Watch(t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		var got map[string]string
		for timeout := time.After(deadline); ; {
			if cm, err := c.CoreV1().ConfigMaps(namespace).Get(t.Context(), mesh.TrustRootsConfigMap,
				metav1.GetOptions{}); err == nil {
				got = cm.Data
			}
			if got[mesh.IssuerKeyKey] == want {
				break
			}
			select {
			case <-watching.ResultChan():
			case <-timeout:
				t.Fatalf("namespace %s: got %v, want a bundle and key %s", namespace, got, want)
			}
		}
		watching.Stop()
	}
}

// A namespace's administrator may write its ConfigMaps. Writes in a loop must not burden the API server or other
// namespaces.
func TestContestedTrustAnchorsAreWrittenEverMoreRarely(t *testing.T) {
	c := newCluster(t)
	var counting atomic.Bool
	var applied atomic.Int64
	c.PrependReactor("patch", "configmaps", func(action clienttesting.Action) (bool, runtime.Object, error) {
		if counting.Load() && action.GetNamespace() == "shop" {
			applied.Add(1)
		}
		return false, nil, nil
	})
	c.start(nil)
	source := string(c.awaitRoots(testNamespace, count(1)))
	same := func(roots []*x509.Certificate) bool { return string(mesh.EncodeRoots(roots)) == source }
	c.awaitRoots("shop", same)
	counting.Store(true)
	contestant, stop := context.WithTimeout(t.Context(), 2*time.Second)
	defer stop()
	maps := c.CoreV1().ConfigMaps("shop")
	edits := 0
	for contestant.Err() == nil {
		copied, err := maps.Get(t.Context(), mesh.TrustRootsConfigMap, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if copied.Data[mesh.TrustRootsKey] != source {
			continue
		}
		copied = copied.DeepCopy()
		copied.Data[mesh.TrustRootsKey] = "mine"
		if _, err := maps.Update(t.Context(), copied, metav1.UpdateOptions{}); err == nil {
			edits++
		}
	}
	if got := applied.Load(); got == 0 || got > 6 { // after 0, 0.1, 0.3, 0.7 and 1.5 s; the very first write was earlier
		t.Errorf("the copy was written %d times against %d edits in 2 s, want 1 to 6", got, edits)
	}
	if _, err := c.CoreV1().Namespaces().Create(t.Context(),
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "fresh"}},
		metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	c.awaitRoots("fresh", same)
	c.awaitRoots("shop", same) // repaired in the end
}

func TestIssuerThatDoesNotFitIsReportedAndTheLastOneServes(t *testing.T) {
	ctx := t.Context()
	anchor, issuer := newPairs(t, time.Now())
	_, foreign := newPairs(t, time.Now())
	c := newCluster(t, issuerSecret(issuer), rootsMap(anchor))
	controller := c.start(func(cfg *Config) { cfg.ExternalIssuer, cfg.ExternalRoots = true, true })
	awaitClosed(t, controller.Ready(), "readiness")
	expect := c.expectEvent()
	put := func(pair ca.Pair) {
		t.Helper()
		if _, err := c.CoreV1().Secrets(testNamespace).Update(ctx, issuerSecret(pair), metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	client := dial(t, controller, "127.0.0.1")
	certify := func(when string) {
		t.Helper()
		if _, err := client.Certify(ctx, &pb.CertifyRequest{Token: "shop/web/w", Csr: csrOf(t, web)}); err != nil {
			t.Errorf("%s: %v", when, err)
		}
	}
	put(foreign)
	expect(issuerValidationFailed)
	certify("with an issuer of another anchor in the Secret")
	second, err := ca.NewIssuer(anchor, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	put(second)
	expect(issuerUpdated)
	certify("with a good new issuer")
	if err := c.CoreV1().Secrets(testNamespace).Delete(ctx, mesh.IssuerSecret, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	expect(issuerValidationFailed)
	certify("without the Secret")
}

func TestDeletedAnchorIsRestoredAtOnceAndCertificatesGoOn(t *testing.T) {
	ctx := t.Context()
	c := newCluster(t)
	controller := c.start(nil)
	awaitClosed(t, controller.Ready(), "readiness")
	source := c.awaitRoots("shop", count(1))
	secrets := c.CoreV1().Secrets(testNamespace)
	any := func(*corev1.Secret) bool { return true }
	before := c.awaitSecret(anchorSecret, any)
	expect := c.expectEvent()
	client := dial(t, controller, "127.0.0.1")

	for range 2 { // the second deletion removes the restored one
		if err := secrets.Delete(ctx, anchorSecret, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		expect(anchorRestored)
		if after := c.awaitSecret(anchorSecret, any); !cmp.Equal(after.Data, before.Data) {
			t.Fatal("another anchor took the place of the one that was deleted")
		}
	}
	for _, name := range []string{mesh.IssuerSecret, anchorSecret} {
		if err := secrets.Delete(ctx, name, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := client.Certify(ctx, &pb.CertifyRequest{Token: "shop/web/w", Csr: csrOf(t, web)}); err != nil {
		t.Errorf("without any Secret: %v", err)
	}
	expect(anchorRestored)
	if after := c.awaitSecret(anchorSecret, any); !cmp.Equal(after.Data, before.Data) {
		t.Error("another anchor took the place of the one that was deleted with the issuer")
	}
	c.awaitSecret(mesh.IssuerSecret, any)
	if now := c.awaitRoots("shop", count(1)); string(now) != string(source) {
		t.Error("the bundle changed")
	}
	if n := testutil.ToFloat64(controller.metrics.notices.WithLabelValues(anchorRestored)); n != 3 {
		t.Errorf("counted %v restorations, want 3", n)
	}
}

func TestAnchorThatNobodyHoldsIsMissedAndMadeAnewWhenAskedFor(t *testing.T) {
	anchor, issuer := newPairs(t, time.Now())
	c := newCluster(t, made(issuer), rootsMap(anchor))
	expect := c.expectEvent()
	controller := c.start(nil)
	awaitClosed(t, controller.Ready(), "readiness")
	expect(anchorMissing)
	if n := testutil.ToFloat64(controller.metrics.missing); n != 1 {
		t.Errorf("tulle_identity_trust_anchor_missing is %v, want 1", n)
	}
	c.awaitRoots("shop", count(1))
	c.annotateRoots("2026-11-21")
	expect(anchorMade)
	c.awaitRoots("shop", count(2))
}

// A rotation of the root while workloads run, in steps: bundle of both, new issuer, old anchor dropped. Nothing
// restarts, and at each step every pair of workloads can connect.
func TestRootRotatesWhileWorkloadsKeepTalking(t *testing.T) {
	ctx := t.Context()
	oldAnchor, oldIssuer := newPairs(t, time.Now())
	newAnchor, newIssuer := newPairs(t, time.Now())
	c := newCluster(t, issuerSecret(oldIssuer), rootsMap(oldAnchor))
	controller := c.start(func(cfg *Config) { cfg.ExternalIssuer, cfg.ExternalRoots = true, true })
	awaitClosed(t, controller.Ready(), "readiness")
	bundle := c.awaitRoots("shop", count(1))
	early := startWorkload(t, controller, web, bundle)
	veteran := certificateBy(t, oldAnchor, oldIssuer)
	all := []*testWorkload{early}
	step := func(when string) {
		t.Helper()
		for _, a := range all {
			for _, b := range all {
				if err := talk(t, a.Manager, b.Manager); err != nil {
					t.Errorf("%s: %s to %s: %v", when, a.ID(), b.ID(), err)
				}
			}
		}
	}
	put := func(anchors ...ca.Pair) {
		t.Helper()
		if _, err := c.CoreV1().ConfigMaps(testNamespace).Update(ctx, rootsMap(anchors...),
			metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
		bundle = c.awaitRoots("shop", count(len(anchors)))
		for _, w := range all {
			w.mount(t, bundle)
		}
	}
	step("before")

	put(oldAnchor, newAnchor)
	all = append(all, startWorkload(t, controller, api, bundle))
	awaitTrust(t, early.Manager, certificateBy(t, newAnchor, newIssuer), true)
	step("with both anchors")

	if _, err := c.CoreV1().Secrets(testNamespace).Update(ctx, issuerSecret(newIssuer),
		metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	next := awaitAuthority(t, controller, func(a *Authority) bool { return a.pair.Equal(newIssuer) })
	late := mesh.ID{TrustDomain: "cluster.local", Namespace: "shop", ServiceAccount: "late"}
	all = append(all, startWorkload(t, controller, late, bundle))
	step("with the new issuer, between certificates of both")

	put(newAnchor)
	for _, w := range all {
		w.awaitSigner(t, next)
		awaitTrust(t, w.Manager, veteran, false)
	}
	step("without the old anchor")
}

// certificateBy returns a certificate of api that the issuer signed.
func certificateBy(t *testing.T, anchor, issuer ca.Pair) tls.Certificate {
	t.Helper()
	roots, err := mesh.ParseRoots(anchor.CertPEM)
	if err != nil {
		t.Fatal(err)
	}
	loaded, err := ca.Load(issuer.CertPEM, issuer.KeyPEM, roots, ca.Profile{}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	cert, err := selfIssue(&Authority{Issuer: loaded, Roots: roots}, api, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return *cert
}

// awaitTrust waits until the Manager accepts, or refuses, a client with the certificate.
func awaitTrust(t *testing.T, m *workload.Manager, cert tls.Certificate, want bool) {
	t.Helper()
	var chain []*x509.Certificate
	for _, der := range cert.Certificate {
		parsed, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		chain = append(chain, parsed)
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(deadline)
	verify := m.ServerTLS().VerifyConnection
	for (verify(tls.ConnectionState{PeerCertificates: chain}) == nil) != want {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("%s accepts the certificate: %t", m.ID(), !want)
		}
	}
}

func TestWritesAreAppliesOfTheNamesThatTheRoleAllows(t *testing.T) {
	c := newCluster(t)
	controller := c.start(nil)
	awaitClosed(t, controller.Ready(), "readiness")
	c.awaitRoots("shop", count(1))
	allowed := []string{"secrets/" + mesh.IssuerSecret, "secrets/" + anchorSecret, "configmaps/" +
		mesh.TrustRootsConfigMap}
	for _, action := range c.Actions() {
		resource := action.GetResource().Resource
		if resource != "secrets" && resource != "configmaps" {
			continue
		}
		switch a := action.(type) {
		case interface{ GetPatch() []byte }:
			name := action.(interface{ GetName() string }).GetName()
			if !slices.Contains(allowed, resource+"/"+name) {
				t.Errorf("writes %s/%s", resource, name)
			}
			if strings.Contains(string(a.GetPatch()), "managedFields") {
				t.Errorf("patch of %s/%s carries managed fields", resource, name)
			}
		default:
			if verb := action.GetVerb(); !slices.Contains([]string{"get", "list", "watch"}, verb) {
				t.Errorf("verb %s on %s", verb, resource)
			}
		}
	}
}

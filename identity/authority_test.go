package identity

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tulle-mesh/tulle/identity/ca"
	"github.com/tulle-mesh/tulle/mesh"
)

var now = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func newPairs(t testing.TB, now time.Time) (anchor, issuer ca.Pair) {
	t.Helper()
	anchor, err := ca.NewAnchor("cluster.local", now)
	if err != nil {
		t.Fatal(err)
	}
	if issuer, err = ca.NewIssuer(anchor, now); err != nil {
		t.Fatal(err)
	}
	return anchor, issuer
}

func issuerSecret(pair ca.Pair) *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: testNamespace, Name: mesh.IssuerSecret},
		Data:       map[string][]byte{"tls.crt": pair.CertPEM, "tls.key": pair.KeyPEM},
	}
}

func rootsMap(anchors ...ca.Pair) *corev1.ConfigMap {
	var bundle []byte
	for _, a := range anchors {
		bundle = append(bundle, a.CertPEM...)
	}
	return &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: testNamespace, Name: mesh.TrustRootsConfigMap},
		Data:       map[string]string{mesh.TrustRootsKey: string(bundle)},
	}
}

func TestAuthorityChangesOnlyToWhatFits(t *testing.T) {
	anchorA, issuerA := newPairs(t, now)
	anchorB, issuerB := newPairs(t, now)
	second, err := ca.NewIssuer(anchorA, now)
	if err != nil {
		t.Fatal(err)
	}
	start, notices := resolve(nil, input{issuerSecret(issuerA), rootsMap(anchorA)}, ca.Profile{}, now)
	if start == nil || notices != nil {
		t.Fatalf("first authority: %v, %v", start, notices)
	}
	linkerd := issuerSecret(ca.Pair{})
	linkerd.Data = map[string][]byte{"crt.pem": second.CertPEM, "key.pem": second.KeyPEM}
	cases := []struct {
		name    string
		old     *Authority
		in      input
		issuer  ca.Pair
		anchors int
		reasons []string
	}{
		{"nothing new", start, input{issuerSecret(issuerA), rootsMap(anchorA)}, issuerA, 1, nil},
		{"another issuer under the anchor", start, input{issuerSecret(second), rootsMap(anchorA)}, second, 1,
			[]string{issuerUpdated}},
		{"the same in Linkerd's scheme", start, input{linkerd, rootsMap(anchorA)}, second, 1, []string{issuerUpdated}},
		{"a second anchor", start, input{issuerSecret(issuerA), rootsMap(anchorA, anchorB)}, issuerA, 2,
			[]string{rootsUpdated}},
		{"issuer and bundle at once", start, input{issuerSecret(issuerB), rootsMap(anchorB)}, issuerB, 1,
			[]string{issuerUpdated, rootsUpdated}},
		{"an issuer whose anchor is not in the bundle", start, input{issuerSecret(issuerB), rootsMap(anchorA)}, issuerA, 1,
			[]string{issuerValidationFailed}},
		{"a bundle that strands the issuer", start, input{issuerSecret(issuerA), rootsMap(anchorB)}, issuerA, 1,
			[]string{rootsValidationFailed}},
		{"a good issuer beside a broken bundle", start, input{issuerSecret(second), rootsMap(ca.Pair{CertPEM: []byte("x")})},
			second, 1,
			[]string{issuerUpdated, rootsValidationFailed}},
		{"a good bundle beside a broken issuer", start,
			input{issuerSecret(ca.Pair{CertPEM: []byte("x"), KeyPEM: []byte("x")}),
				rootsMap(anchorA, anchorB)}, issuerA, 2, []string{rootsUpdated, issuerValidationFailed}},
		{"both broken", start, input{issuerSecret(ca.Pair{}), rootsMap()}, issuerA, 1,
			[]string{issuerValidationFailed, rootsValidationFailed}},
		{"both gone", start, input{}, issuerA, 1, []string{issuerValidationFailed, rootsValidationFailed}},
		{"nothing at first", nil, input{}, ca.Pair{}, 0, []string{issuerValidationFailed, rootsValidationFailed}},
		{"an issuer without its anchor at first", nil, input{issuerSecret(issuerB), rootsMap(anchorA)}, ca.Pair{}, 0,
			[]string{issuerValidationFailed}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			next, notices := resolve(c.old, c.in, ca.Profile{}, now)
			var reasons []string
			for _, n := range notices {
				reasons = append(reasons, n.reason)
			}
			if diff := cmp.Diff(c.reasons, reasons); diff != "" {
				t.Errorf("notices (-want +got):\n%s%v", diff, notices)
			}
			if next == nil || c.anchors == 0 {
				if next != nil || c.anchors != 0 {
					t.Fatalf("got authority %v", next)
				}
				return
			}
			if !next.pair.Equal(c.issuer) || len(next.Roots) != c.anchors {
				t.Errorf("issuer %q, %d anchors, want %d", next.Issuer.Certificate().Subject, len(next.Roots), c.anchors)
			}
		})
	}
}

func TestIssuerThatExpiredInForceIsReported(t *testing.T) {
	anchor, issuer := newPairs(t, now)
	in := input{issuerSecret(issuer), rootsMap(anchor)}
	a, _ := resolve(nil, in, ca.Profile{}, now)
	next, notices := resolve(a, in, ca.Profile{}, now.Add(2*ca.IssuerLifetime))
	if next != a || !slices.ContainsFunc(notices, func(n notice) bool { return n.reason == issuerValidationFailed }) {
		t.Errorf("got %v, %v", next, notices)
	}
}

package identity

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tulle-mesh/tulle/identity/ca"
	"github.com/tulle-mesh/tulle/internal/latest"
	"github.com/tulle-mesh/tulle/mesh"
)

func anchorOf(pair ca.Pair) *corev1.Secret {
	s := issuerSecret(pair)
	s.Name = anchorSecret
	return s
}

func made(pair ca.Pair) *corev1.Secret {
	s := issuerSecret(pair)
	s.Annotations = map[string]string{madeAnnotation: fingerprint(pair.CertPEM)}
	return s
}

func TestPlanWritesOneObjectAtATimeInTheOrderThatPeersNeed(t *testing.T) {
	anchor, issuer := newPairs(t, now)
	next, nextIssuer := newPairs(t, now.Add(100*time.Hour))
	withCA := issuerSecret(issuer)
	withCA.Data["ca.crt"] = anchor.CertPEM
	replaced := made(issuer)
	replaced.Data["tls.crt"], replaced.Data["tls.key"] = nextIssuer.CertPEM, nextIssuer.KeyPEM
	external := ownership{externalIssuer: true}
	third := ca.IssuerLifetime / 3
	cases := []struct {
		name     string
		e        estate
		own      ownership
		lastGood []byte
		at       time.Time
		want     action
		roots    int // anchors in the bundle that is written
	}{
		{"bare cluster", estate{}, ownership{}, nil, now, makeAnchor, 0},
		{"anchor made", estate{anchor: anchorOf(anchor)}, ownership{}, nil, now, writeRoots, 1},
		{"bundle written", estate{anchor: anchorOf(anchor), roots: rootsMap(anchor)}, ownership{}, nil, now, makeIssuer, 0},
		{"settled", estate{made(issuer), anchorOf(anchor), rootsMap(anchor)}, ownership{}, nil, now, wait, 0},
		{"two thirds of the issuer's life left", estate{made(issuer), anchorOf(anchor), rootsMap(anchor)}, ownership{}, nil,
			now.Add(third), wait, 0},
		{"less than a third left", estate{made(issuer), anchorOf(anchor), rootsMap(anchor)}, ownership{}, nil,
			now.Add(2*third + time.Minute), makeIssuer, 0},
		{"issuer deleted", estate{anchor: anchorOf(anchor), roots: rootsMap(anchor)}, ownership{}, nil, now, makeIssuer, 0},
		{"bundle deleted: the last good one and the own anchor", estate{made(issuer), anchorOf(anchor), nil}, ownership{},
			next.CertPEM, now, writeRoots, 2},
		{"own anchor removed from the bundle", estate{made(issuer), anchorOf(anchor), rootsMap(next)}, ownership{}, nil, now, writeRoots, 2},
		{"anchor deleted: the root is rotated", estate{made(issuer), nil, rootsMap(anchor)}, ownership{}, nil, now, makeAnchor, 0},
		{"new anchor goes into the bundle first", estate{made(issuer), anchorOf(next), rootsMap(anchor)}, ownership{}, nil,
			now.Add(100 * time.Hour), writeRoots, 2},
		{"then it is carried to the pods", estate{made(issuer), anchorOf(next), rootsMap(anchor, next)}, ownership{}, nil,
			now.Add(100*time.Hour + propagation - time.Second), wait, 0},
		{"then the issuer moves under it", estate{made(issuer), anchorOf(next), rootsMap(anchor, next)}, ownership{}, nil,
			now.Add(100*time.Hour + propagation), makeIssuer, 0},
		{"issuer given by somebody", estate{issuerSecret(issuer), nil, rootsMap(anchor)}, ownership{}, nil, now.Add(3 * third), wait, 0},
		{"issuer replaced by somebody", estate{replaced, anchorOf(anchor), rootsMap(anchor)}, ownership{}, nil, now.Add(3 * third), wait, 0},
		{"issuer given with its anchor", estate{issuer: withCA}, ownership{}, nil, now, writeRoots, 1},
		{"external issuer that is not there yet", estate{}, external, nil, now, wait, 0},
		{"external issuer with its anchor", estate{issuer: withCA}, external, nil, now, writeRoots, 1},
		{"external bundle that is not there yet", estate{issuer: withCA}, ownership{externalIssuer: true, externalRoots: true}, nil, now, wait, 0},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got, err := plan(c.e, c.own, c.lastGood, c.at)
			if err != nil {
				t.Fatal(err)
			}
			if got.action != c.want {
				t.Fatalf("got action %d, want %d", got.action, c.want)
			}
			if c.want == wait && (got.pause <= 0 || got.pause > lookInterval) {
				t.Errorf("pause of %v", got.pause)
			}
			if c.want == writeRoots {
				roots, err := mesh.ParseRoots(got.roots)
				if err != nil || len(roots) != c.roots {
					t.Errorf("bundle of %d anchors (%v), want %d", len(roots), err, c.roots)
				}
			}
		})
	}
}

func TestPlanLeavesWhatItCannotReadToTheOperator(t *testing.T) {
	anchor, issuer := newPairs(t, now)
	broken := rootsMap()
	broken.Data[mesh.TrustRootsKey] = "-----BEGIN"
	for name, e := range map[string]estate{
		"bundle": {made(issuer), anchorOf(anchor), broken},
		"anchor": {made(issuer), anchorOf(ca.Pair{CertPEM: []byte("x"), KeyPEM: []byte("x")}), rootsMap(anchor)},
	} {
		if got, err := plan(e, ownership{}, nil, now); err == nil {
			t.Errorf("broken %s: got action %d, want an error", name, got.action)
		}
	}
}

func TestDeletingTheAnchorRotatesTheRootWithoutAGap(t *testing.T) {
	c := newCluster(t)
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		keep := &keeper{
			client: c.Clientset, namespace: testNamespace, trustDomain: "cluster.local",
			authority: &latest.Cell[*Authority]{}, log: zap.NewNop(),
		}
		authority := func(old *Authority) *Authority {
			t.Helper()
			e, err := keep.look(ctx)
			if err != nil {
				t.Fatal(err)
			}
			next, notices := resolve(old, input{e.issuer, e.roots}, ca.Profile{}, time.Now())
			for _, n := range notices {
				if n.warning {
					t.Error(n)
				}
			}
			return next
		}
		settle := func() time.Duration {
			t.Helper()
			pause, err := keep.settle(ctx)
			if err != nil {
				t.Fatal(err)
			}
			return pause
		}
		settle()
		first := authority(nil)
		if err := c.CoreV1().Secrets(testNamespace).Delete(ctx, anchorSecret, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		pause := settle()
		between := authority(first)
		if len(between.Roots) != 2 || !between.pair.Equal(first.pair) || pause != propagation {
			t.Errorf("at first: %d anchors, same issuer %t, pause %v", len(between.Roots), between.pair.Equal(first.pair), pause)
		}
		time.Sleep(pause)
		settle()
		last := authority(between)
		if len(last.Roots) != 2 || last.pair.Equal(first.pair) || last.Issuer.Certificate().CheckSignatureFrom(last.Roots[1]) != nil {
			t.Errorf("then: %d anchors, issuer by %q", len(last.Roots), last.Issuer.Certificate().Issuer)
		}
	})
}

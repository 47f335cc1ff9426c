package identity

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"

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

// asking returns the bundle with the annotation that requests a new anchor.
func asking(value string, roots *corev1.ConfigMap) *corev1.ConfigMap {
	roots.Annotations = map[string]string{replaceAnnotation: value}
	return roots
}

// switching returns the bundle with the annotation that says when the issuer moves.
func switching(value string, roots *corev1.ConfigMap) *corev1.ConfigMap {
	roots.Annotations = map[string]string{mesh.IssuerSwitchAnnotation: value}
	return roots
}

func madeFor(value string, anchor *corev1.Secret) *corev1.Secret {
	anchor.Annotations = map[string]string{madeForAnnotation: value}
	return anchor
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
	var none lastKnown
	before := lastKnown{bundle: anchor.CertPEM, anchor: anchorOf(anchor)}
	cases := []struct {
		name  string
		e     observed
		own   ownership
		known lastKnown
		at    time.Time
		want  action
		roots int // number of anchors in the written bundle
	}{
		{"bare cluster", observed{}, ownership{}, none, now, makeAnchor, 0},
		{"anchor made", observed{anchor: anchorOf(anchor)}, ownership{}, none, now, writeRoots, 1},
		{"bundle written", observed{anchor: anchorOf(anchor), roots: rootsMap(anchor)}, ownership{}, none, now, makeIssuer,
			0},
		{"nothing to do", observed{made(issuer), anchorOf(anchor), rootsMap(anchor)}, ownership{}, none, now, wait, 0},
		{"two thirds of the issuer's life left", observed{made(issuer), anchorOf(anchor), rootsMap(anchor)}, ownership{},
			none,
			now.Add(third), wait, 0},
		{"less than a third left", observed{made(issuer), anchorOf(anchor), rootsMap(anchor)}, ownership{}, none,
			now.Add(2*third + time.Minute), makeIssuer, 0},
		{"issuer deleted", observed{anchor: anchorOf(anchor), roots: rootsMap(anchor)}, ownership{}, none, now, makeIssuer,
			0},
		{"bundle deleted: the last good one and the own anchor", observed{made(issuer), anchorOf(anchor), nil}, ownership{},
			lastKnown{bundle: next.CertPEM}, now, writeRoots, 2},
		{"own anchor removed from the bundle", observed{made(issuer), anchorOf(anchor), rootsMap(next)}, ownership{}, none,
			now,
			writeRoots, 2},
		{"anchor deleted that is known", observed{made(issuer), nil, rootsMap(anchor)}, ownership{}, before, now,
			restoreAnchor,
			0},
		{"anchor and issuer deleted", observed{roots: rootsMap(anchor)}, ownership{}, before, now, restoreAnchor, 0},
		{"everything deleted", observed{}, ownership{}, before, now, restoreAnchor, 0},
		{"anchor deleted while a new one is asked for", observed{made(issuer), nil, asking("1", rootsMap(anchor))},
			ownership{},
			before, now,
			restoreAnchor, 0},
		{"another anchor is asked for", observed{made(issuer), anchorOf(anchor), asking("1", rootsMap(anchor))}, ownership{},
			before, now,
			makeAnchor, 0},
		{"and another one", observed{made(issuer), madeFor("1", anchorOf(anchor)), asking("2", rootsMap(anchor))},
			ownership{},
			before, now,
			makeAnchor, 0},
		{"the one that was asked for is there", observed{made(issuer), madeFor("1", anchorOf(anchor)),
			asking("1", rootsMap(anchor))},
			ownership{}, before, now, wait, 0},
		{"an anchor is asked for that is missing", observed{made(issuer), nil, asking("1", rootsMap(anchor))}, ownership{},
			none, now,
			makeAnchor, 0},
		{"issuer deleted while the new anchor is carried to the pods",
			observed{anchor: anchorOf(next), roots: rootsMap(anchor, next)},
			ownership{}, lastKnown{bundle: anchor.CertPEM}, now.Add(100 * time.Hour), wait, 0},
		{"new anchor goes into the bundle first", observed{made(issuer), anchorOf(next), rootsMap(anchor)}, ownership{}, none,
			now.Add(100 * time.Hour), writeRoots, 2},
		{"then it is carried to the pods", observed{made(issuer), anchorOf(next), rootsMap(anchor, next)}, ownership{}, none,
			now.Add(100*time.Hour + propagation - time.Second), wait, 0},
		{"then the issuer moves under it", observed{made(issuer), anchorOf(next), rootsMap(anchor, next)}, ownership{}, none,
			now.Add(100*time.Hour + propagation), makeIssuer, 0},
		{"unless a rotation says later", observed{made(issuer), anchorOf(next), switching("later", rootsMap(anchor, next))},
			ownership{}, none, now.Add(100*time.Hour + propagation), wait, 0},
		{"until its regular renewal", observed{made(issuer), anchorOf(next), switching("later", rootsMap(anchor, next))},
			ownership{}, none, now.Add(2*third + time.Minute), makeIssuer, 0},
		{"or a rotation moves it at once", observed{made(issuer), anchorOf(next), switching("now", rootsMap(anchor, next))},
			ownership{}, none, now.Add(100*time.Hour + time.Second), makeIssuer, 0},
		{"issuer given by somebody", observed{issuerSecret(issuer), nil, rootsMap(anchor)}, ownership{}, none,
			now.Add(3 * third), wait, 0},
		{"issuer replaced by somebody", observed{replaced, anchorOf(anchor), rootsMap(anchor)}, ownership{}, none,
			now.Add(3 * third), wait, 0},
		{"issuer given with its anchor", observed{issuer: withCA}, ownership{}, none, now, writeRoots, 1},
		{"external issuer that is not there yet", observed{}, external, none, now, wait, 0},
		{"external issuer with its anchor", observed{issuer: withCA}, external, none, now, writeRoots, 1},
		{"external bundle that is not there yet", observed{issuer: withCA},
			ownership{externalIssuer: true, externalRoots: true}, none, now, wait, 0},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got, err := plan(c.e, c.own, c.known, c.at)
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

// Certificates under an anchor may be in use for a day after its deletion. So no other anchor replaces it without a
// request.
func TestPlanTellsOfAnAnchorThatCannotBeRestored(t *testing.T) {
	anchor, issuer := newPairs(t, now)
	for name, c := range map[string]struct {
		e       observed
		known   lastKnown
		reason  string
		message string
	}{
		"the issuer is there": {observed{made(issuer), nil, rootsMap(anchor)}, lastKnown{}, anchorMissing,
			"still issued, but the issuer cannot be renewed"},
		"the issuer is in lastKnown alone": {observed{roots: rootsMap(anchor)}, lastKnown{bundle: anchor.CertPEM},
			anchorMissing,
			"still issued"},
		"nothing but the bundle is left": {observed{roots: rootsMap(anchor)}, lastKnown{}, anchorMissing,
			"nothing can be issued"},
		"another is asked for, and the issuer comes from outside": {
			observed{issuerSecret(issuer), nil, asking("1", rootsMap(anchor))}, lastKnown{},
			anchorNotReplaced, "no effect: the issuer comes from outside"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := plan(c.e, ownership{}, c.known, now)
			if err != nil || got.action != wait {
				t.Fatalf("action %d (%v), want to wait", got.action, err)
			}
			if got.reason != c.reason || !got.warning || !strings.Contains(got.message, c.message) ||
				got.missing != (c.reason == anchorMissing) {
				t.Errorf("told %+v, want a warning %s: %s", got.problem, c.reason, c.message)
			}
		})
	}
}

func TestPlanLeavesWhatItCannotReadToTheOperator(t *testing.T) {
	anchor, issuer := newPairs(t, now)
	broken := rootsMap()
	broken.Data[mesh.TrustRootsKey] = "-----BEGIN"
	for name, e := range map[string]observed{
		"bundle": {made(issuer), anchorOf(anchor), broken},
		"anchor": {made(issuer), anchorOf(ca.Pair{CertPEM: []byte("x"), KeyPEM: []byte("x")}), rootsMap(anchor)},
	} {
		if got, err := plan(e, ownership{}, lastKnown{}, now); err == nil {
			t.Errorf("broken %s: got action %d, want an error", name, got.action)
		}
	}
}

func TestReplacingTheAnchorRotatesTheRootWithoutAGap(t *testing.T) {
	c := newCluster(t)
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		rec := &reconciler{
			client: c.Clientset, namespace: testNamespace, trustDomain: "cluster.local",
			authority: &latest.Cell[*Authority]{}, log: zap.NewNop(), announce: func(notice) {},
			missing: prometheus.NewGauge(prometheus.GaugeOpts{Name: "x"}),
		}
		authority := func(old *Authority) *Authority {
			t.Helper()
			e, err := rec.look(ctx)
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
		reconcile := func() time.Duration {
			t.Helper()
			pause, err := rec.reconcile(ctx)
			if err != nil {
				t.Fatal(err)
			}
			return pause
		}
		reconcile()
		first := authority(nil)
		c.annotateRoots("1")
		pause := reconcile()
		between := authority(first)
		if len(between.Roots) != 2 || !between.pair.Equal(first.pair) || pause != propagation {
			t.Errorf("at first: %d anchors, same issuer %t, pause %v", len(between.Roots), between.pair.Equal(first.pair), pause)
		}
		time.Sleep(pause)
		reconcile()
		last := authority(between)
		if len(last.Roots) != 2 || last.pair.Equal(first.pair) ||
			last.Issuer.Certificate().CheckSignatureFrom(last.Roots[1]) != nil {
			t.Errorf("then: %d anchors, issuer by %q", len(last.Roots), last.Issuer.Certificate().Issuer)
		}
	})
}

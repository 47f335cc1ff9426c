package identity

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/tulle-mesh/tulle/identity/ca"
	"github.com/tulle-mesh/tulle/mesh"
)

const (
	// anchorSecret holds the trust anchor that the controller made, with its key. Without it the controller renews nothing.
	anchorSecret = "tulle-identity-trust-anchor"
	// madeAnnotation marks an issuer that the controller made, by the fingerprint of its certificate: one that somebody else put into
	// the same Secret later is theirs.
	madeAnnotation = "tulle.dev/made-issuer"
	// propagation is how long a new anchor is handed out before anything is issued under it: kubelets bring a ConfigMap into a pod
	// within their sync period and the life of their cache, a minute each.
	propagation = 3 * time.Minute
	// lookInterval is how often the leader looks without being woken.
	lookInterval = time.Hour
)

// estate is what the leader finds in namespace tulle; nil is an object that does not exist.
type estate struct {
	issuer *corev1.Secret
	anchor *corev1.Secret
	roots  *corev1.ConfigMap
}

// ownership says what of the estate the controller may write.
type ownership struct {
	externalIssuer bool
	externalRoots  bool
}

type action uint8

const (
	wait action = iota
	makeAnchor
	writeRoots
	makeIssuer
)

// step is the next thing to do to the estate.
type step struct {
	action action
	roots  []byte        // for writeRoots
	anchor ca.Pair       // for makeIssuer
	pause  time.Duration // for wait
}

// plan returns what the leader must write next, one object at a time, until nothing is left but to wait. lastGood is the bundle that
// the replica used last, nil if none.
//
// The order keeps peers able to verify each other: an anchor is in the bundle before an issuer is under it, and an issuer moves to a
// new anchor only when the bundle has reached the pods.
func plan(e estate, own ownership, lastGood []byte, now time.Time) (step, error) {
	if !own.externalIssuer && e.anchor == nil && (e.issuer == nil || isOurs(e.issuer)) {
		return step{action: makeAnchor}, nil
	}
	if !own.externalRoots {
		roots, err := planRoots(e, lastGood)
		if err != nil {
			return step{}, err
		}
		if roots != nil {
			return step{action: writeRoots, roots: roots}, nil
		}
	}
	if own.externalIssuer || e.anchor == nil {
		return step{pause: lookInterval}, nil
	}
	return planIssuer(e, now)
}

// planRoots returns the bundle to write, nil if what is there will do.
func planRoots(e estate, lastGood []byte) ([]byte, error) {
	var present []byte
	if e.roots != nil {
		present = []byte(e.roots.Data[mesh.TrustRootsKey])
	}
	if len(present) == 0 {
		if present = lastGood; present == nil && e.anchor == nil && e.issuer != nil {
			present = e.issuer.Data["ca.crt"]
		}
		return bundleWith(present, e.anchor)
	}
	if e.anchor == nil {
		return nil, nil
	}
	want, err := bundleWith(present, e.anchor)
	if err != nil || bytes.Equal(want, present) {
		return nil, err
	}
	return want, nil
}

// bundleWith returns the bundle with the anchor of the Secret appended, unless it has it.
func bundleWith(bundle []byte, anchor *corev1.Secret) ([]byte, error) {
	if anchor == nil {
		return bundle, nil
	}
	own, err := mesh.ParseRoots(anchor.Data[corev1.TLSCertKey])
	if err != nil {
		return nil, fmt.Errorf("trust anchor: Secret %s: %w", anchor.Name, err)
	}
	if len(bundle) == 0 {
		return mesh.EncodeRoots(own), nil
	}
	roots, err := mesh.ParseRoots(bundle)
	if err != nil {
		return nil, fmt.Errorf("trust anchors: ConfigMap %s: %w", mesh.TrustRootsConfigMap, err)
	}
	if contains(roots, own[0]) {
		return bundle, nil
	}
	return mesh.EncodeRoots(append(roots, own[0])), nil
}

func contains(roots []*x509.Certificate, root *x509.Certificate) bool {
	for _, r := range roots {
		if r.Equal(root) {
			return true
		}
	}
	return false
}

func planIssuer(e estate, now time.Time) (step, error) {
	anchor := ca.Pair{CertPEM: e.anchor.Data[corev1.TLSCertKey], KeyPEM: e.anchor.Data[corev1.TLSPrivateKeyKey]}
	parent, err := tls.X509KeyPair(anchor.CertPEM, anchor.KeyPEM)
	if err != nil {
		return step{}, fmt.Errorf("trust anchor: Secret %s: %w", anchorSecret, err)
	}
	renew := step{action: makeIssuer, anchor: anchor}
	if e.issuer == nil {
		return renew, nil
	}
	if !isOurs(e.issuer) {
		return step{pause: lookInterval}, nil
	}
	pair, err := issuerPair(e.issuer)
	if err != nil {
		return step{}, err
	}
	issuer, err := tls.X509KeyPair(pair.CertPEM, pair.KeyPEM)
	if err != nil {
		return renew, nil
	}
	due := issuer.Leaf.NotAfter.Add(-issuer.Leaf.NotAfter.Sub(issuer.Leaf.NotBefore) / 3)
	if issuer.Leaf.CheckSignatureFrom(parent.Leaf) != nil {
		if settled := parent.Leaf.NotBefore.Add(ca.Backdate + propagation); settled.Before(due) {
			due = settled
		}
	}
	if !now.Before(due) {
		return renew, nil
	}
	return step{pause: min(due.Sub(now), lookInterval)}, nil
}

func isOurs(issuer *corev1.Secret) bool {
	mark := issuer.Annotations[madeAnnotation]
	pair, err := issuerPair(issuer)
	return mark != "" && err == nil && mark == fingerprint(pair.CertPEM)
}

func fingerprint(certPEM []byte) string {
	sum := sha256.Sum256(certPEM)
	return hex.EncodeToString(sum[:16])
}

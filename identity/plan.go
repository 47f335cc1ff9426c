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
	// anchorSecret has the trust anchor that the controller made, with its key. Without the key the controller cannot
	// renew the issuer.
	anchorSecret = mesh.AnchorSecret
	// madeAnnotation marks an issuer that the controller made. Its value is the fingerprint of the certificate, so it
	// does not match an issuer that another program writes into the same Secret later.
	madeAnnotation    = mesh.MadeIssuerAnnotation
	replaceAnnotation = mesh.ReplaceAnchorAnnotation
	madeForAnnotation = mesh.MadeForAnnotation
	// propagation is how long a new anchor is distributed before an issuer under it is used. A kubelet updates a
	// ConfigMap in a pod within its sync period and the lifetime of its cache, a minute each.
	propagation = 3 * time.Minute
	// lookInterval is how often the leader checks without an event.
	lookInterval = time.Hour
)

// observed has the objects that the leader finds in namespace tulle. A nil field is an object that does not exist.
type observed struct {
	issuer *corev1.Secret
	anchor *corev1.Secret
	roots  *corev1.ConfigMap
}

// ownership lists the objects that another program writes.
type ownership struct {
	externalIssuer bool
	externalRoots  bool
}

// lastKnown is what the leader saw earlier. From it, deleted objects are restored instead of made anew.
type lastKnown struct {
	bundle []byte         // of the active authority; nil if there is none
	anchor *corev1.Secret // the anchor's Secret at the last look; nil if never seen
}

// others reports whether other anchors than this one are active.
func (m lastKnown) others(anchor *x509.Certificate) bool {
	roots, err := mesh.ParseRoots(m.bundle)
	return err == nil && !(len(roots) == 1 && roots[0].Equal(anchor))
}

type action uint8

const (
	wait action = iota
	makeAnchor
	restoreAnchor
	writeRoots
	makeIssuer
)

// step is the next action.
type step struct {
	action action
	roots  []byte        // for writeRoots
	anchor ca.Pair       // for makeIssuer
	pause  time.Duration // for wait
	problem
}

// problem is a state that the leader cannot repair. The operator gets one report of it.
type problem struct {
	notice
	missing bool // the trust anchor is missing
}

// plan returns what the leader must write next, one object at a time. If nothing is left to write, it returns a wait.
// The order ensures that peers can always verify each other: an anchor is in the bundle before an issuer is under it.
// An issuer moves to a new anchor only when the bundle has reached the pods. While certificates under an anchor may be
// in use, plan replaces it only on request: it restores the anchor or reports it missing.
func plan(e observed, own ownership, known lastKnown, now time.Time) (step, error) {
	anchor := planAnchor(e, own, known)
	if anchor.action != wait {
		return anchor, nil
	}
	next, err := planRootsAndIssuer(e, own, known, now)
	if err == nil && next.action == wait {
		next.problem = anchor.problem
	}
	return next, err
}

// planAnchor returns the step for the anchor.
func planAnchor(e observed, own ownership, known lastKnown) step {
	requested := replaceRequest(e.roots)
	if own.externalIssuer || e.issuer != nil && !isOurs(e.issuer) {
		if requested == "" || e.anchor != nil && e.anchor.Annotations[madeForAnnotation] == requested {
			return step{}
		}
		return step{problem: problem{notice: notice{warning: true, reason: anchorNotReplaced, message: fmt.Sprintf(
			"%s of ConfigMap %s has no effect: the issuer comes from outside; add the new anchor to the bundle, then replace "+
				"the issuer",
			replaceAnnotation, mesh.TrustRootsConfigMap)}}}
	}
	switch {
	case e.anchor != nil && (requested == "" || requested == e.anchor.Annotations[madeForAnnotation]):
		return step{}
	case e.anchor == nil && known.anchor != nil:
		return step{action: restoreAnchor}
	case requested != "":
		return step{action: makeAnchor}
	case e.issuer == nil && len(bundleOf(e.roots)) == 0 && known.bundle == nil:
		return step{action: makeAnchor} // the first installation
	}
	message := "nothing can be issued"
	if e.issuer != nil || known.bundle != nil {
		message = "certificates are still issued, but the issuer cannot be renewed"
	}
	return step{problem: problem{missing: true, notice: notice{warning: true, reason: anchorMissing, message: fmt.Sprintf(
		"Secret %s does not exist: %s; restore it, or ask for a new anchor with %s of ConfigMap %s",
		anchorSecret, message, replaceAnnotation, mesh.TrustRootsConfigMap)}}}
}

// planRootsAndIssuer returns the step for the bundle and the issuer.
func planRootsAndIssuer(e observed, own ownership, known lastKnown, now time.Time) (step, error) {
	if !own.externalRoots {
		roots, err := planRoots(e, known.bundle)
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
	return planIssuer(e, known, now)
}

// planRoots returns the bundle to write, or nil if the current one is right.
func planRoots(e observed, lastGood []byte) ([]byte, error) {
	bundle := bundleOf(e.roots)
	if len(bundle) == 0 {
		if bundle = lastGood; bundle == nil && e.anchor == nil && e.issuer != nil {
			bundle = e.issuer.Data["ca.crt"]
		}
		return bundleWith(bundle, e.anchor)
	}
	if e.anchor == nil {
		return nil, nil
	}
	want, err := bundleWith(bundle, e.anchor)
	if err != nil || bytes.Equal(want, bundle) {
		return nil, err
	}
	return want, nil
}

// bundleOf returns the bundle of the ConfigMap, or nil if there is none.
func bundleOf(roots *corev1.ConfigMap) []byte {
	if roots == nil {
		return nil
	}
	return []byte(roots.Data[mesh.TrustRootsKey])
}

// replaceRequest returns the value of replaceAnnotation.
func replaceRequest(roots *corev1.ConfigMap) string { return annotationOf(roots, replaceAnnotation) }

func annotationOf(roots *corev1.ConfigMap, key string) string {
	if roots == nil {
		return ""
	}
	return roots.Annotations[key]
}

// bundleWith returns the bundle with the anchor of the Secret. It appends the anchor unless the bundle has it.
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

func planIssuer(e observed, known lastKnown, now time.Time) (step, error) {
	anchor := ca.Pair{CertPEM: e.anchor.Data[corev1.TLSCertKey], KeyPEM: e.anchor.Data[corev1.TLSPrivateKeyKey]}
	parent, err := tls.X509KeyPair(anchor.CertPEM, anchor.KeyPEM)
	if err != nil {
		return step{}, fmt.Errorf("trust anchor: Secret %s: %w", anchorSecret, err)
	}
	renew := step{action: makeIssuer, anchor: anchor}
	reachedPods := parent.Leaf.NotBefore.Add(ca.Backdate + propagation)
	if e.issuer == nil {
		if known.others(parent.Leaf) && now.Before(reachedPods) {
			return step{pause: reachedPods.Sub(now)}, nil // the last valid issuer serves until this anchor has reached the pods
		}
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
		switch annotationOf(e.roots, mesh.IssuerSwitchAnnotation) {
		case mesh.IssuerSwitchLater: // until its regular renewal: a rotation that nobody finishes must not end the issuer
		case mesh.IssuerSwitchNow:
			due = now
		default:
			if reachedPods.Before(due) {
				due = reachedPods
			}
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

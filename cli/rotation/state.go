// Package rotation replaces the trust anchors of a mesh while it runs.
//
// It owns the three phases of a rotation (add the new anchor, switch the issuer, drop the old anchors), what each waits
// for, and where a rotation stands. The one idea: the state is in the cluster, in an annotation of the bundle, and the
// next step is a function of what the cluster has. So a rotation that was interrupted anywhere goes on from there.
package rotation

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/tulle-mesh/tulle/cli/installation"
	"github.com/tulle-mesh/tulle/identity/ca"
	"github.com/tulle-mesh/tulle/install"
	"github.com/tulle-mesh/tulle/mesh"
)

// Phase is one of the three parts of a rotation.
type Phase string

// The phases, in their order.
const (
	Add    Phase = "add"
	Switch Phase = "switch"
	Drop   Phase = "drop"
)

// State is the annotation that a rotation leaves in the cluster.
type State struct {
	// ID is when the rotation began; the identity controller makes the new anchor for it.
	ID    string `json:"id"`
	Phase Phase  `json:"phase"`
	// Old are the fingerprints of the anchors to drop, New those of the given ones; of Tulle's own there are none.
	Old []string `json:"old"`
	New []string `json:"new,omitempty"`
}

// Given are the new anchors and the issuer under them, PEM, where Tulle does not make them.
type Given struct{ Anchors, IssuerCert, IssuerKey string }

// observed is one reading of the cluster.
type observed struct {
	roots   *corev1.ConfigMap
	anchors []*x509.Certificate // of the bundle
	anchor  *corev1.Secret      // that Tulle made; nil without one
	secret  *corev1.Secret      // of the issuer
	issuer  []*x509.Certificate // its chain
	// externalIssuer and externalRoots say that another program writes the issuer, or the bundle.
	externalIssuer, externalRoots bool
	state                         *State // nil: there is no rotation
}

// gate is what every proxy must report before a rotation goes on: a number for its anchors, or for its issuer.
type gate struct {
	metric string
	value  uint64
}

// step is what happens next. A step has a change to make, something to wait for, or a gate.
type step struct {
	phase Phase
	text  string
	patch map[string]any // merge patch of the bundle's ConfigMap
	// issuer is to be written into the issuer's Secret.
	issuer *ca.Pair
	waits  bool
	done   bool
}

const (
	rootsMetric  = "tulle_trust_roots_hash"
	issuerMetric = "tulle_identity_issuer_hash"
)

// next returns the next step. passed reports whether every proxy reports what the gate asks for.
func next(o observed, given Given, now time.Time, passed func(gate) bool) (step, error) {
	if o.state == nil {
		return begin(o, given, now)
	}
	switch o.state.Phase {
	case Add:
		return add(o, given, passed)
	case Switch:
		return switchIssuer(o, given, now, passed)
	case Drop:
		return drop(o, passed)
	}
	return step{}, fmt.Errorf("annotation %s of ConfigMap %s names phase %q: want add, switch or drop; a newer version "+
		"of tulle may have begun this rotation", mesh.RotationAnnotation, mesh.TrustRootsConfigMap, o.state.Phase)
}

// ours reports whether the identity controller made the issuer, so that it makes the new anchor too.
func (o observed) ours() bool { return !o.externalIssuer && installation.MadeHere(o.secret) }

func begin(o observed, given Given, now time.Time) (step, error) {
	s := State{ID: now.UTC().Format(time.RFC3339), Phase: Add}
	for _, a := range o.anchors {
		s.Old = append(s.Old, fingerprint(a))
	}
	if o.ours() && !o.externalRoots {
		if given != (Given{}) {
			return step{}, errors.New("the issuer is one that Tulle made, and so will be the next: give no files; to move to " +
				"certificates of your own, see docs/install.md")
		}
		return step{phase: Add, text: "ask the identity controller for a new trust anchor; the issuer stays where it is",
			patch: annotate(s, map[string]any{mesh.ReplaceAnchorAnnotation: s.ID,
				mesh.IssuerSwitchAnnotation: mesh.IssuerSwitchLater}, nil)}, nil
	}
	added, err := o.check(given, now)
	if err != nil {
		return step{}, err
	}
	for _, a := range added {
		s.New = append(s.New, fingerprint(a))
	}
	if o.externalRoots {
		return step{phase: Add, text: "note which trust anchors the bundle has; the program that keeps it adds the new one",
			patch: annotate(s, nil, nil)}, nil
	}
	return step{phase: Add, text: "add to the bundle: " + names(added),
		patch: annotate(s, nil, slices.Concat(o.anchors, added))}, nil
}

// check returns the given anchors, or an error that says what is wrong with what was given.
func (o observed) check(given Given, now time.Time) ([]*x509.Certificate, error) {
	switch {
	case given.Anchors == "":
		return nil, errors.New("the trust anchors are yours: give the new ones with --identity-trust-anchors-file")
	case o.externalIssuer && given.IssuerCert+given.IssuerKey != "":
		return nil, errors.New("another program keeps the issuer: give no issuer, and have that program write one under " +
			"the new anchor when this command waits for it")
	case !o.externalIssuer && (given.IssuerCert == "" || given.IssuerKey == ""):
		return nil, errors.New("the issuer is yours: give the new one with --identity-issuer-certificate-file and " +
			"--identity-issuer-key-file")
	}
	added, _, err := install.ParseCertificates(given.Anchors)
	if err != nil {
		return nil, fmt.Errorf("--identity-trust-anchors-file: %w", err)
	}
	for _, a := range added {
		if err := install.CheckAnchor(a, now); err != nil {
			return nil, fmt.Errorf("--identity-trust-anchors-file: %s: %w", nameOf(a), err)
		}
		if slices.ContainsFunc(o.anchors, a.Equal) && o.state == nil {
			return nil, fmt.Errorf("--identity-trust-anchors-file: %s is in the bundle already: give only the new ones",
				nameOf(a))
		}
	}
	if !o.externalIssuer {
		if _, err := given.pair(added, now); err != nil {
			return nil, err
		}
	}
	return added, nil
}

// pair returns the given issuer, checked as the identity controller will.
func (g Given) pair(anchors []*x509.Certificate, now time.Time) (*ca.Pair, error) {
	pair := ca.Pair{CertPEM: []byte(g.IssuerCert), KeyPEM: []byte(g.IssuerKey)}
	if _, err := ca.Load(pair.CertPEM, pair.KeyPEM, anchors, ca.Profile{}, now); err != nil {
		return nil, fmt.Errorf("--identity-issuer-certificate-file: %w", err)
	}
	return &pair, nil
}

// added returns the new anchors that are in the bundle.
func (o observed) added() (out []*x509.Certificate) {
	for _, a := range o.anchors {
		if !slices.Contains(o.state.Old, fingerprint(a)) {
			out = append(out, a)
		}
	}
	return out
}

// left returns the old anchors that are still in the bundle.
func (o observed) left() (out []*x509.Certificate) {
	for _, a := range o.anchors {
		if slices.Contains(o.state.Old, fingerprint(a)) {
			out = append(out, a)
		}
	}
	return out
}

func add(o observed, given Given, passed func(gate) bool) (step, error) {
	s := *o.state
	fresh := o.added()
	made := !o.ours() || len(s.New) > 0 || o.anchor != nil && o.anchor.Annotations[mesh.MadeForAnnotation] == s.ID
	missing := slices.ContainsFunc(s.New, func(want string) bool {
		return !slices.ContainsFunc(fresh, func(a *x509.Certificate) bool { return fingerprint(a) == want })
	})
	switch {
	case missing && !o.externalRoots && given.Anchors != "":
		added, _, err := install.ParseCertificates(given.Anchors)
		if err != nil {
			return step{}, fmt.Errorf("--identity-trust-anchors-file: %w", err)
		}
		return step{phase: Add, text: "add to the bundle again what was taken out of it: " + names(added),
			patch: annotate(s, nil, slices.Concat(o.anchors, added))}, nil
	case missing && !o.externalRoots:
		return step{}, errors.New("the new trust anchors are not in the bundle anymore: give " +
			"--identity-trust-anchors-file again")
	case missing:
		return step{phase: Add, waits: true, text: "another program to add the new trust anchors to ConfigMap " +
			mesh.TrustRootsConfigMap}, nil
	case !made || len(fresh) == 0:
		return step{phase: Add, waits: true, text: "the identity controller to make the new trust anchor (kubectl -n " +
			o.roots.Namespace + " get events)"}, nil
	case !passed(gate{rootsMetric, mesh.RootsHash(o.anchors)}):
		return step{phase: Add, waits: true, text: "every proxy to trust " + names(fresh)}, nil
	}
	s.Phase = Switch
	return step{phase: Add, text: "every proxy trusts " + names(fresh) + "; let the issuer move",
		patch: annotate(s, map[string]any{mesh.IssuerSwitchAnnotation: mesh.IssuerSwitchNow}, nil)}, nil
}

func switchIssuer(o observed, given Given, now time.Time, passed func(gate) bool) (step, error) {
	s := *o.state
	fresh := o.added()
	moved := slices.ContainsFunc(fresh, func(a *x509.Certificate) bool { return signs(a, o.issuer, now) })
	switch {
	case len(fresh) == 0:
		return step{}, fmt.Errorf("no new trust anchor is in the bundle anymore: kubectl -n %s annotate configmap %s %s- "+
			"ends this rotation, then begin another", o.roots.Namespace, mesh.TrustRootsConfigMap, mesh.RotationAnnotation)
	case !moved && o.externalIssuer:
		return step{phase: Switch, waits: true, text: "another program to write an issuer under " + names(fresh) +
			" into Secret " + mesh.IssuerSecret}, nil
	case !moved && o.ours():
		return step{phase: Switch, waits: true, text: "the identity controller to make an issuer under " + names(fresh)}, nil
	case !moved && given.IssuerCert == "":
		return step{}, errors.New("the next step writes the new issuer: give --identity-issuer-certificate-file and " +
			"--identity-issuer-key-file again")
	case !moved:
		pair, err := given.pair(fresh, now)
		return step{phase: Switch, text: "write the new issuer into Secret " + mesh.IssuerSecret, issuer: pair}, err
	}
	if !passed(gate{issuerMetric, mesh.KeyHash(o.issuer[0].SubjectKeyId)}) {
		return step{phase: Switch, waits: true, text: "every proxy to have a certificate of the new issuer " +
			nameOf(o.issuer[0])}, nil
	}
	s.Phase = Drop
	return step{phase: Switch, text: "every proxy has a certificate of the new issuer; nothing needs the old anchors",
		patch: annotate(s, nil, nil)}, nil
}

func drop(o observed, passed func(gate) bool) (step, error) {
	fresh, old := o.added(), o.left()
	switch {
	case len(fresh) == 0:
		return step{}, errors.New("no new trust anchor is in the bundle: nothing is dropped")
	case len(old) > 0 && o.externalRoots:
		return step{phase: Drop, waits: true, text: "another program to drop from the bundle: " + names(old)}, nil
	case len(old) > 0:
		return step{phase: Drop, text: "drop from the bundle: " + names(old), patch: annotate(*o.state, nil, fresh)}, nil
	case !passed(gate{rootsMetric, mesh.RootsHash(o.anchors)}):
		return step{phase: Drop, waits: true, text: "every proxy to stop trusting the old anchors"}, nil
	}
	return step{phase: Drop, done: true, text: "the rotation is done",
		patch: map[string]any{"metadata": map[string]any{"annotations": map[string]any{
			mesh.RotationAnnotation: nil, mesh.IssuerSwitchAnnotation: nil}}}}, nil
}

// annotate returns the patch that notes the state, and writes the anchors unless they are nil.
func annotate(s State, more map[string]any, anchors []*x509.Certificate) map[string]any {
	text, _ := json.Marshal(s) // strings alone
	annotations := map[string]any{mesh.RotationAnnotation: string(text)}
	for key, value := range more {
		annotations[key] = value
	}
	patch := map[string]any{"metadata": map[string]any{"annotations": annotations}}
	if anchors != nil {
		patch["data"] = map[string]any{mesh.TrustRootsKey: string(mesh.EncodeRoots(anchors))}
	}
	return patch
}

func signs(anchor *x509.Certificate, chain []*x509.Certificate, now time.Time) bool {
	opts := x509.VerifyOptions{Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool(), CurrentTime: now,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}
	opts.Roots.AddCert(anchor)
	for _, c := range chain[1:] {
		opts.Intermediates.AddCert(c)
	}
	_, err := chain[0].Verify(opts)
	return err == nil
}

func fingerprint(c *x509.Certificate) string {
	sum := sha256.Sum256(c.Raw)
	return hex.EncodeToString(sum[:16])
}

func nameOf(c *x509.Certificate) string {
	return fmt.Sprintf("%q (serial %x)", c.Subject.CommonName, c.SerialNumber)
}

func names(certs []*x509.Certificate) string {
	out := ""
	for i, c := range certs {
		if i > 0 {
			out += ", "
		}
		out += nameOf(c)
	}
	return out
}

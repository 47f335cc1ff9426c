package identity

import (
	"bytes"
	"cmp"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/tulle-mesh/tulle/identity/ca"
	"github.com/tulle-mesh/tulle/mesh"
)

// Authority is an issuer with the trust anchors under which the issuer verifies. Callers get these anchors. It is
// immutable.
type Authority struct {
	Issuer *ca.Issuer
	Roots  []*x509.Certificate

	pair   ca.Pair
	bundle []byte
}

// input is the state of the cluster at one moment. A nil field is an object that does not exist.
type input struct {
	issuer *corev1.Secret
	roots  *corev1.ConfigMap
}

// notice is a message for the operator: it becomes an Event and a log line.
type notice struct {
	warning bool
	reason  string
	message string
}

// Reasons of notices. The first three are those of Linkerd.
const (
	issuerUpdated          = "IssuerUpdated"
	issuerUpdateSkipped    = "IssuerUpdateSkipped"
	issuerValidationFailed = "IssuerValidationFailed"
	rootsUpdated           = "TrustRootsUpdated"
	rootsValidationFailed  = "TrustRootsValidationFailed"
	anchorMade             = "TrustAnchorMade"
	anchorRestored         = "TrustAnchorRestored"
	anchorMissing          = "TrustAnchorMissing"
	anchorNotReplaced      = "TrustAnchorNotReplaced"
)

// resolve returns the authority that follows old (nil at first), and notices for the operator. It takes the new issuer
// and the new bundle of anchors if the issuer verifies under the bundle. Otherwise it takes the one of the two that
// fits the active other one. Otherwise old stays.
func resolve(old *Authority, in input, profile ca.Profile, now time.Time) (*Authority, []notice) {
	pair, issuerErr := issuerPair(in.issuer)
	bundle, rootsErr := rootsBundle(in.roots)
	if issuerErr == nil && rootsErr == nil {
		next, err := newAuthority(pair, bundle, profile, now)
		if err == nil {
			return next, changes(old, next)
		}
		if old == nil || pair.Equal(old.pair) && bytes.Equal(bundle, old.bundle) {
			return old, failures(old, err, nil)
		}
	}
	if old == nil {
		return nil, failures(nil, issuerErr, rootsErr)
	}
	if issuerErr == nil && !pair.Equal(old.pair) {
		next, err := newAuthority(pair, old.bundle, profile, now)
		if err == nil {
			return next, append(changes(old, next), failures(old, nil, cmp.Or(rootsErr, errStrands))...)
		}
		issuerErr = err
	}
	if rootsErr == nil && !bytes.Equal(bundle, old.bundle) {
		next, err := newAuthority(old.pair, bundle, profile, now)
		if err == nil {
			return next, append(changes(old, next), failures(old, issuerErr, nil)...)
		}
		rootsErr = fmt.Errorf("%w: %w", errStrands, err)
	}
	return old, failures(old, issuerErr, rootsErr)
}

var errStrands = errors.New("the issuer does not verify under any trust anchor of the bundle")

var errMissing = errors.New("does not exist")

func newAuthority(pair ca.Pair, bundle []byte, profile ca.Profile, now time.Time) (*Authority, error) {
	roots, err := mesh.ParseRoots(bundle)
	if err != nil {
		return nil, err
	}
	issuer, err := ca.Load(pair.CertPEM, pair.KeyPEM, roots, profile, now)
	if err != nil {
		return nil, err
	}
	return &Authority{Issuer: issuer, Roots: roots, pair: pair, bundle: bundle}, nil
}

func changes(old, next *Authority) []notice {
	var notices []notice
	if old == nil {
		return nil
	}
	if !old.Issuer.Certificate().Equal(next.Issuer.Certificate()) {
		notices = append(notices, notice{reason: issuerUpdated,
			message: fmt.Sprintf("certificates are issued by %q, valid until %s",
				next.Issuer.Certificate().Subject, next.Issuer.NotAfter().UTC().Format(time.RFC3339))})
	}
	if !bytes.Equal(old.bundle, next.bundle) {
		notices = append(notices, notice{reason: rootsUpdated,
			message: fmt.Sprintf("the bundle of trust anchors has %d", len(next.Roots))})
	}
	return notices
}

func failures(old *Authority, issuerErr, rootsErr error) []notice {
	stays := ""
	if old != nil {
		stays = "; the last valid one stays active"
	}
	// Before the first authority, missing objects are not an alarm: the leader or an external tool will create them.
	alarms := func(err error) bool { return old != nil || !errors.Is(err, errMissing) }
	var notices []notice
	if issuerErr != nil {
		notices = append(notices, notice{warning: alarms(issuerErr), reason: issuerValidationFailed,
			message: issuerErr.Error() + stays})
	}
	if rootsErr != nil {
		notices = append(notices, notice{warning: alarms(rootsErr), reason: rootsValidationFailed, message: rootsErr.Error() +
			stays})
	}
	return notices
}

// issuerPair reads the issuer Secret in one of two schemes: linkerd.io/tls (crt.pem, key.pem) or kubernetes.io/tls
// (tls.crt, tls.key).
func issuerPair(s *corev1.Secret) (ca.Pair, error) {
	if s == nil {
		return ca.Pair{}, fmt.Errorf("issuer: Secret %s %w", mesh.IssuerSecret, errMissing)
	}
	for _, scheme := range [][2]string{{"crt.pem", "key.pem"}, {corev1.TLSCertKey, corev1.TLSPrivateKeyKey}} {
		cert, key := s.Data[scheme[0]], s.Data[scheme[1]]
		if len(cert) > 0 && len(key) > 0 {
			return ca.Pair{CertPEM: cert, KeyPEM: key}, nil
		}
	}
	return ca.Pair{}, fmt.Errorf("issuer: Secret %s has neither crt.pem and key.pem nor tls.crt and tls.key", s.Name)
}

func rootsBundle(c *corev1.ConfigMap) ([]byte, error) {
	if c == nil {
		return nil, fmt.Errorf("trust anchors: ConfigMap %s %w", mesh.TrustRootsConfigMap, errMissing)
	}
	if c.Data[mesh.TrustRootsKey] == "" {
		return nil, fmt.Errorf("trust anchors: ConfigMap %s has no key %s", c.Name, mesh.TrustRootsKey)
	}
	return []byte(c.Data[mesh.TrustRootsKey]), nil
}

// issuerKey returns the key identifier of the issuer, in hex; "" if it has none.
func (a *Authority) issuerKey() string {
	return hex.EncodeToString(a.Issuer.Certificate().SubjectKeyId)
}

// equal reports whether both are equal, byte for byte.
func (a *Authority) equal(b *Authority) bool {
	return a.pair.Equal(b.pair) && bytes.Equal(a.bundle, b.bundle)
}

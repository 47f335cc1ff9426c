package ca

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/tulle-mesh/tulle/mesh"
)

// minRemaining is the shortest lifetime that a leaf may have after clamping to its issuer's end.
const minRemaining = time.Minute

// Token is the right to one certificate: everything is decided, and nothing is signed. The exported fields are for the
// audit line, which is written before Issue.
type Token struct {
	ID        mesh.ID
	Serial    *big.Int
	NotBefore time.Time
	NotAfter  time.Time

	issuer *Issuer
	key    crypto.PublicKey
	used   atomic.Bool
}

// Leaf is an issued certificate.
type Leaf struct {
	// Chain is DER, the leaf first, without the anchor.
	Chain    [][]byte
	NotAfter time.Time
}

// Prepare checks a request and decides what its certificate will contain. csr is PKCS #10, DER; id is the identity that
// the caller proved. Only the public key comes from the request. The validity is the profile's, clamped to the issuer's
// own. Errors wrap ErrRequest, ErrForeignName, ErrIssuerExpired or mesh.ErrNotID.
func (i *Issuer) Prepare(csr []byte, id mesh.ID, now time.Time) (*Token, error) {
	if err := id.Validate(); err != nil {
		return nil, err
	}
	req, err := checkRequest(csr, id)
	if err != nil {
		return nil, err
	}
	notBefore, notAfter := now.Add(-i.profile.Skew), now.Add(i.profile.lifetime())
	if notBefore.Before(i.cert.NotBefore) {
		notBefore = i.cert.NotBefore
	}
	if notAfter.After(i.notAfter) {
		notAfter = i.notAfter
	}
	if notAfter.Sub(now) < minRemaining {
		return nil, fmt.Errorf("%w: %q ends at %s", ErrIssuerExpired, i.cert.Subject, i.notAfter.UTC().Format(time.RFC3339))
	}
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	return &Token{ID: id, Serial: serial, NotBefore: notBefore, NotAfter: notAfter, issuer: i, key: req.PublicKey}, nil
}

// Issue signs what Prepare decided. It returns an error for a token that was issued before or that another issuer
// prepared.
//
// The leaf is an X.509-SVID (SPIFFE X509-SVID §2 to §4). It has one URI SAN, which is critical because the subject is
// empty (RFC 5280 §4.2.1.6). It is not a CA, and its only key usage is digitalSignature.
func (i *Issuer) Issue(t *Token) (*Leaf, error) {
	if t.issuer != i {
		return nil, errors.New("issue certificate: token of another issuer")
	}
	if t.used.Swap(true) {
		return nil, errors.New("issue certificate: token was used before")
	}
	der, err := i.sign(t)
	if err != nil {
		return nil, err
	}
	return &Leaf{Chain: append([][]byte{der}, i.chain...), NotAfter: t.NotAfter}, nil
}

var leafUsages = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}

// sign makes the certificate, DER. A token without ID gives a certificate without a name, which no peer accepts.
func (i *Issuer) sign(t *Token) ([]byte, error) {
	template := &x509.Certificate{
		SerialNumber:          t.Serial,
		NotBefore:             t.NotBefore,
		NotAfter:              t.NotAfter,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           leafUsages,
		BasicConstraintsValid: true,
	}
	if !t.ID.IsZero() {
		template.URIs = []*url.URL{t.ID.URI()}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, i.cert, t.key, i.key)
	if err != nil {
		return nil, fmt.Errorf("sign certificate of %s: %w", t.ID, err)
	}
	return der, nil
}

// newSerial returns 128 random bits after a leading 1, so that the number is never zero (RFC 5280 §4.1.2.2).
func newSerial() (*big.Int, error) {
	bytes := make([]byte, 17)
	if _, err := rand.Read(bytes[1:]); err != nil {
		return nil, fmt.Errorf("make serial number: %w", err)
	}
	bytes[0] = 1
	return new(big.Int).SetBytes(bytes), nil
}

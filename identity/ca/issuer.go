package ca

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"time"
)

// Limits of a leaf's lifetime. The upper limit makes revocation lists unnecessary.
const (
	MaxLifetime = 24 * time.Hour
	MinLifetime = 10 * time.Minute
	MaxSkew     = 10 * time.Minute
)

// Profile is the lifetime of an Issuer's certificates. The zero Profile means MaxLifetime without skew.
type Profile struct {
	// Lifetime begins at the moment of issue; 0 means MaxLifetime.
	Lifetime time.Duration
	// Skew backdates a certificate so that a peer whose clock is slow accepts it at once.
	Skew time.Duration
}

// Validate returns an error if a duration is outside the limits above.
func (p Profile) Validate() error {
	if p.Lifetime != 0 && (p.Lifetime < MinLifetime || p.Lifetime > MaxLifetime) {
		return fmt.Errorf("issuance lifetime %v: want %v to %v", p.Lifetime, MinLifetime, MaxLifetime)
	}
	if p.Skew < 0 || p.Skew > MaxSkew {
		return fmt.Errorf("clock skew allowance %v: want 0s to %v", p.Skew, MaxSkew)
	}
	return nil
}

func (p Profile) lifetime() time.Duration {
	if p.Lifetime == 0 {
		return MaxLifetime
	}
	return p.Lifetime
}

// Issuer signs certificates of workloads. It is immutable, and several goroutines may use it.
type Issuer struct {
	profile Profile
	cert    *x509.Certificate
	key     crypto.Signer
	// chain has the certificates between a leaf and its anchor, DER: the issuer and its intermediates. It is empty if
	// the issuer is an anchor.
	chain    [][]byte
	notAfter time.Time // the earliest end in the chain, anchor included
}

// Load reads an issuer from PEM. certPEM has the issuer's certificate, then the intermediates up to an anchor, if any.
// keyPEM has its private key (PKCS #8, SEC 1). Load checks four things, and the error names the failed check. Key and
// certificate must match. The key type must be ECDSA P-256 or P-384, or Ed25519. The certificate must be a CA. A leaf
// that it signs must verify at now by a path to one of anchors.
func Load(certPEM, keyPEM []byte, anchors []*x509.Certificate, profile Profile, now time.Time) (*Issuer, error) {
	if err := profile.Validate(); err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return nil, fmt.Errorf("load issuer: %w", err)
	}
	key, ok := pair.PrivateKey.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("load issuer: key of type %T cannot sign", pair.PrivateKey)
	}
	if err := checkKey(key.Public()); err != nil {
		return nil, fmt.Errorf("load issuer: %w", err)
	}
	i := &Issuer{profile: profile, cert: pair.Leaf, key: key}
	if !i.cert.BasicConstraintsValid || !i.cert.IsCA {
		return nil, fmt.Errorf("load issuer %q: not a CA certificate", i.cert.Subject)
	}
	if err := i.findPath(pair.Certificate[1:], anchors, now); err != nil {
		return nil, fmt.Errorf("load issuer %q: %w", i.cert.Subject, err)
	}
	return i, nil
}

// findPath signs a test leaf, verifies it as a peer would, and sets chain and notAfter from the path that is valid
// longest. So it finds everything that would make peers refuse the issuer's leaf certificates: path length, extended
// key usage, a missing anchor.
func (i *Issuer) findPath(intermediates [][]byte, anchors []*x509.Certificate, now time.Time) error {
	opts := x509.VerifyOptions{Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool(), CurrentTime: now}
	for _, anchor := range anchors {
		opts.Roots.AddCert(anchor)
	}
	opts.Intermediates.AddCert(i.cert)
	for _, der := range intermediates {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return fmt.Errorf("parse intermediate: %w", err)
		}
		opts.Intermediates.AddCert(cert)
	}
	leaf, err := i.trial(now)
	if err != nil {
		return err
	}
	var paths [][]*x509.Certificate
	for _, usage := range leafUsages {
		opts.KeyUsages = []x509.ExtKeyUsage{usage}
		if paths, err = leaf.Verify(opts); err != nil {
			return err
		}
	}
	for _, path := range paths {
		if end := firstEnd(path[1:]); end.After(i.notAfter) {
			i.notAfter = end
			i.chain = nil
			for _, cert := range path[1 : len(path)-1] {
				i.chain = append(i.chain, cert.Raw)
			}
		}
	}
	return nil
}

func (i *Issuer) trial(now time.Time) (*x509.Certificate, error) {
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	der, err := i.sign(&Token{Serial: serial, NotBefore: now, NotAfter: now.Add(time.Second), key: i.key.Public()})
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

func firstEnd(path []*x509.Certificate) time.Time {
	end := path[0].NotAfter
	for _, cert := range path[1:] {
		if cert.NotAfter.Before(end) {
			end = cert.NotAfter
		}
	}
	return end
}

// Certificate returns the issuer's own certificate. It must not be changed.
func (i *Issuer) Certificate() *x509.Certificate { return i.cert }

// NotAfter returns the time from which no certificate of the issuer verifies: the earliest end on its path to an
// anchor.
func (i *Issuer) NotAfter() time.Time { return i.notAfter }

// checkKey returns an error unless mesh TLS uses the type of key.
func checkKey(key crypto.PublicKey) error {
	switch k := key.(type) {
	case ed25519.PublicKey:
		return nil
	case *ecdsa.PublicKey:
		if k.Curve == elliptic.P256() || k.Curve == elliptic.P384() {
			return nil
		}
		return fmt.Errorf("ECDSA key on curve %s: want P-256 or P-384", k.Curve.Params().Name)
	default:
		return fmt.Errorf("key of type %T: want ECDSA P-256, P-384 or Ed25519", key)
	}
}

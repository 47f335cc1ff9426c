package ca

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"net/url"
	"time"
)

// Lifetimes of the certificates that Tulle makes for itself.
const (
	AnchorLifetime = 10 * 365 * 24 * time.Hour
	IssuerLifetime = 365 * 24 * time.Hour
	// Backdate lets machines whose clock is slow accept a new authority at once.
	Backdate = time.Minute
)

// Pair is a certificate and its private key, PEM.
type Pair struct {
	CertPEM []byte
	KeyPEM  []byte
}

// Equal reports whether both fields are equal, byte for byte.
func (p Pair) Equal(q Pair) bool {
	return bytes.Equal(p.CertPEM, q.CertPEM) && bytes.Equal(p.KeyPEM, q.KeyPEM)
}

// NewAnchor makes a self-signed trust anchor (ECDSA P-256) for trustDomain.
func NewAnchor(trustDomain string, now time.Time) (Pair, error) {
	template, err := authority("Tulle trust anchor", now, now.Add(AnchorLifetime))
	if err != nil {
		return Pair{}, err
	}
	template.MaxPathLen = 1
	// SPIFFE X509-SVID §3.2: the ID of a signing certificate is that of the trust domain, without a path.
	template.URIs = []*url.URL{{Scheme: "spiffe", Host: trustDomain}}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Pair{}, fmt.Errorf("make trust anchor's key: %w", err)
	}
	return sign(template, template, key, key)
}

// NewIssuer makes an issuer under anchor. It may sign only leaf certificates, and does not outlive the anchor.
func NewIssuer(anchor Pair, now time.Time) (Pair, error) {
	parent, err := tls.X509KeyPair(anchor.CertPEM, anchor.KeyPEM)
	if err != nil {
		return Pair{}, fmt.Errorf("read trust anchor: %w", err)
	}
	signer, ok := parent.PrivateKey.(crypto.Signer)
	if !ok {
		return Pair{}, errors.New("read trust anchor: its key cannot sign")
	}
	end := now.Add(IssuerLifetime)
	if parent.Leaf.NotAfter.Before(end) {
		end = parent.Leaf.NotAfter
	}
	if !end.After(now) {
		return Pair{}, fmt.Errorf("make issuer: trust anchor ended at %s", end.UTC().Format(time.RFC3339))
	}
	template, err := authority("Tulle identity issuer", now, end)
	if err != nil {
		return Pair{}, err
	}
	template.MaxPathLenZero = true
	template.URIs = parent.Leaf.URIs
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Pair{}, fmt.Errorf("make issuer's key: %w", err)
	}
	return sign(template, parent.Leaf, key, signer)
}

// authority returns the template of a CA certificate. Its name contains the time, so that people can distinguish two
// generations.
func authority(name string, now, end time.Time) (*x509.Certificate, error) {
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	return &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: name + " " + now.UTC().Format(time.RFC3339)},
		NotBefore:             now.Add(-Backdate),
		NotAfter:              end,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}, nil
}

func sign(template, parent *x509.Certificate, key *ecdsa.PrivateKey, signer crypto.Signer) (Pair, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		return Pair{}, fmt.Errorf("sign %s: %w", template.Subject.CommonName, err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return Pair{}, fmt.Errorf("encode key of %s: %w", template.Subject.CommonName, err)
	}
	return Pair{
		CertPEM: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		KeyPEM:  pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}),
	}, nil
}

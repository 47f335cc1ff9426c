package meshtest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/identity/ca"
	"github.com/tulle-mesh/tulle/identity/workload"
	"github.com/tulle-mesh/tulle/mesh"
)

// CA is a certificate authority: one trust anchor with one issuer below it.
type CA struct {
	tb     testing.TB
	anchor ca.Pair
	issuer *ca.Issuer
	roots  []*x509.Certificate
}

// NewCA makes an authority whose certificates live 24 hours from now.
func NewCA(tb testing.TB) *CA {
	tb.Helper()
	return NewCAWith(tb, ca.Profile{}, time.Now())
}

// NewCAWith makes an authority whose certificates have the profile. The authority itself is valid from now.
func NewCAWith(tb testing.TB, profile ca.Profile, now time.Time) *CA {
	tb.Helper()
	c := &CA{tb: tb}
	var err error
	if c.anchor, err = ca.NewAnchor(mesh.DefaultTrustDomain, now); err != nil {
		tb.Fatal(err)
	}
	if c.roots, err = mesh.ParseRoots(c.anchor.CertPEM); err != nil {
		tb.Fatal(err)
	}
	pair, err := ca.NewIssuer(c.anchor, now)
	if err != nil {
		tb.Fatal(err)
	}
	if c.issuer, err = ca.Load(pair.CertPEM, pair.KeyPEM, c.roots, profile, now); err != nil {
		tb.Fatal(err)
	}
	return c
}

// Roots returns the trust anchor.
func (c *CA) Roots() []*x509.Certificate { return c.roots }

// RootsFile writes the trust anchor as PEM into a temporary file of the test and returns the file's name.
func (c *CA) RootsFile() string {
	c.tb.Helper()
	name := filepath.Join(c.tb.TempDir(), mesh.TrustRootsKey)
	if err := os.WriteFile(name, mesh.EncodeRoots(c.roots), 0o600); err != nil {
		c.tb.Fatal(err)
	}
	return name
}

// Sign issues a certificate for a request (PKCS #10, DER) of id, as the identity controller would at the moment now.
func (c *CA) Sign(csr []byte, id mesh.ID, now time.Time) (*ca.Leaf, error) {
	token, err := c.issuer.Prepare(csr, id, now)
	if err != nil {
		return nil, err
	}
	return c.issuer.Issue(token)
}

// Issue returns a certificate of id with a fresh key.
func (c *CA) Issue(id mesh.ID) tls.Certificate {
	c.tb.Helper()
	return c.IssueAt(id, time.Now())
}

// IssueAt issues as Issue does at the moment now. The certificate may already be expired.
func (c *CA) IssueAt(id mesh.ID, now time.Time) tls.Certificate {
	c.tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		c.tb.Fatal(err)
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{URIs: []*url.URL{id.URI()}}, key)
	if err != nil {
		c.tb.Fatal(err)
	}
	leaf, err := c.Sign(csr, id, now)
	if err != nil {
		c.tb.Fatal(err)
	}
	cert, err := x509.ParseCertificate(leaf.Chain[0])
	if err != nil {
		c.tb.Fatal(err)
	}
	return tls.Certificate{Certificate: leaf.Chain, PrivateKey: key, Leaf: cert}
}

// Certs returns a Manager that has a certificate of id and trusts the authority.
func (c *CA) Certs(id mesh.ID) *workload.Manager {
	c.tb.Helper()
	m, err := workload.Static(c.Issue(id), c.roots)
	if err != nil {
		c.tb.Fatal(err)
	}
	return m
}

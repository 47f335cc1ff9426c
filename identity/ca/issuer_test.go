package ca

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/mesh"
)

func newTestIssuer(t testing.TB, profile Profile) (*Issuer, Pair) {
	t.Helper()
	anchor, pair := newTestPairs(t, now)
	issuer, err := Load(pair.CertPEM, pair.KeyPEM, roots(t, anchor), profile, now)
	if err != nil {
		t.Fatal(err)
	}
	return issuer, anchor
}

func newTestPairs(t testing.TB, now time.Time) (anchor, issuer Pair) {
	t.Helper()
	anchor, err := NewAnchor("cluster.local", now)
	if err != nil {
		t.Fatal(err)
	}
	if issuer, err = NewIssuer(anchor, now); err != nil {
		t.Fatal(err)
	}
	return anchor, issuer
}

func roots(t testing.TB, anchors ...Pair) []*x509.Certificate {
	t.Helper()
	var bundle []byte
	for _, a := range anchors {
		bundle = append(bundle, a.CertPEM...)
	}
	certs, err := mesh.ParseRoots(bundle)
	if err != nil {
		t.Fatal(err)
	}
	return certs
}

// variant signs an issuer under anchor after edit has changed its template.
func variant(t *testing.T, anchor Pair, edit func(*x509.Certificate)) Pair {
	t.Helper()
	template, err := authority("variant", now, now.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	edit(template)
	block, _ := pem.Decode(anchor.KeyPEM)
	signer, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := sign(template, roots(t, anchor)[0], ecKey(t, elliptic.P256()), signer.(*ecdsa.PrivateKey))
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

func TestIssuersThatPeersWouldNotAcceptAreNotLoaded(t *testing.T) {
	anchor, issuer := newTestPairs(t, now)
	other, otherIssuer := newTestPairs(t, now)
	leafOnly := variant(t, anchor, func(c *x509.Certificate) { c.IsCA, c.KeyUsage = false, x509.KeyUsageDigitalSignature })
	noSign := variant(t, anchor, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageDigitalSignature })
	serverOnly := variant(t, anchor, func(c *x509.Certificate) {
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	})
	tooDeep := variant(t, issuer, func(*x509.Certificate) {})
	tooDeep.CertPEM = append(tooDeep.CertPEM, issuer.CertPEM...)
	cases := []struct {
		name string
		cert []byte
		key  []byte
		at   time.Time
		want string // part of the error; "" if it loads
	}{
		{"the issuer of the anchor", issuer.CertPEM, issuer.KeyPEM, now, ""},
		{"the anchor itself", anchor.CertPEM, anchor.KeyPEM, now, ""},
		{"a key of another certificate", issuer.CertPEM, otherIssuer.KeyPEM, now, "does not match"},
		{"an issuer of another anchor", otherIssuer.CertPEM, otherIssuer.KeyPEM, now, "unknown authority"},
		{"another anchor", other.CertPEM, other.KeyPEM, now, "unknown authority"},
		{"not an authority", leafOnly.CertPEM, leafOnly.KeyPEM, now, "not a CA"},
		{"an authority that may not sign", noSign.CertPEM, noSign.KeyPEM, now, "signed by unknown authority"},
		{"an authority for servers alone", serverOnly.CertPEM, serverOnly.KeyPEM, now, "incompatible key usage"},
		{"deeper than the path length allows", tooDeep.CertPEM, tooDeep.KeyPEM, now, "too many intermediates"},
		{"expired", issuer.CertPEM, issuer.KeyPEM, now.Add(2 * IssuerLifetime), "expired"},
		{"not valid yet", issuer.CertPEM, issuer.KeyPEM, now.Add(-time.Hour), "not yet valid"},
		{"no PEM", []byte("hello"), issuer.KeyPEM, now, "failed to find any PEM"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, err := Load(c.cert, c.key, roots(t, anchor), Profile{}, c.at)
			switch {
			case c.want == "" && err != nil:
				t.Error(err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("got %v, want an error that says %q", err, c.want)
			}
		})
	}
}

func TestChainLeadsToTheAnchorWithoutIt(t *testing.T) {
	anchor, middle := newTestPairs(t, now)
	cases := []struct {
		name  string
		pair  Pair
		chain int
	}{
		{"issuer below the anchor", middle, 2},
		{"anchor that issues itself", anchor, 1},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			issuer, err := Load(c.pair.CertPEM, c.pair.KeyPEM, roots(t, anchor), Profile{}, now)
			if err != nil {
				t.Fatal(err)
			}
			leaf := issueTo(t, issuer, now)
			if len(leaf.Chain) != c.chain {
				t.Fatalf("chain of %d certificates, want %d", len(leaf.Chain), c.chain)
			}
			pool, between := x509.NewCertPool(), x509.NewCertPool()
			pool.AddCert(roots(t, anchor)[0])
			for _, der := range leaf.Chain[1:] {
				cert, err := x509.ParseCertificate(der)
				if err != nil {
					t.Fatal(err)
				}
				between.AddCert(cert)
			}
			cert, err := x509.ParseCertificate(leaf.Chain[0])
			if err != nil {
				t.Fatal(err)
			}
			if _, err := cert.Verify(x509.VerifyOptions{Roots: pool, Intermediates: between, CurrentTime: now}); err != nil {
				t.Error(err)
			}
		})
	}
}

func issueTo(t *testing.T, issuer *Issuer, at time.Time) *Leaf {
	t.Helper()
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, ecKey(t, elliptic.P256()))
	if err != nil {
		t.Fatal(err)
	}
	token, err := issuer.Prepare(csr, web, at)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := issuer.Issue(token)
	if err != nil {
		t.Fatal(err)
	}
	return leaf
}

func TestLifetimeIsTheServersAndEndsWithTheIssuer(t *testing.T) {
	profile := Profile{Lifetime: 2 * time.Hour, Skew: 20 * time.Second}
	issuer, _ := newTestIssuer(t, profile)
	cases := []struct {
		name                string
		at                  time.Time
		notBefore, notAfter time.Time
	}{
		{"in the middle of the issuer's life", now.Add(24 * time.Hour), now.Add(24*time.Hour - profile.Skew),
			now.Add(26 * time.Hour)},
		{"an hour before the issuer's end", issuer.NotAfter().Add(-time.Hour),
			issuer.NotAfter().Add(-time.Hour - profile.Skew), issuer.NotAfter()},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			cert, err := x509.ParseCertificate(issueTo(t, issuer, c.at).Chain[0])
			if err != nil {
				t.Fatal(err)
			}
			if !cert.NotBefore.Equal(c.notBefore) || !cert.NotAfter.Equal(c.notAfter) {
				t.Errorf("valid %s to %s, want %s to %s", cert.NotBefore, cert.NotAfter, c.notBefore, c.notAfter)
			}
		})
	}
	csr := request(t, ecKey(t, elliptic.P256()), x509.CertificateRequest{})
	if _, err := issuer.Prepare(csr, web, issuer.NotAfter().Add(-time.Second)); !errors.Is(err, ErrIssuerExpired) {
		t.Errorf("a second before the issuer's end: got %v, want %v", err, ErrIssuerExpired)
	}
}

func TestProfileOutsideOfTheLimitsIsRefused(t *testing.T) {
	for _, p := range []Profile{{Lifetime: 25 * time.Hour}, {Lifetime: time.Minute}, {Lifetime: -time.Hour}, {Skew: -1},
		{Skew: time.Hour}} {
		if p.Validate() == nil {
			t.Errorf("%+v is accepted", p)
		}
	}
	for _, p := range []Profile{{}, {Lifetime: MinLifetime}, {Lifetime: MaxLifetime, Skew: 20 * time.Second}} {
		if err := p.Validate(); err != nil {
			t.Error(err)
		}
	}
}

func TestTokenIsGoodForOneCertificateOfItsIssuer(t *testing.T) {
	issuer, _ := newTestIssuer(t, Profile{})
	other, _ := newTestIssuer(t, Profile{})
	token, err := issuer.Prepare(request(t, ecKey(t, elliptic.P256()), x509.CertificateRequest{}), web, now)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Issue(token); err == nil {
		t.Error("another issuer took the token")
	}
	if _, err := issuer.Issue(token); err != nil {
		t.Error(err)
	}
	if _, err := issuer.Issue(token); err == nil {
		t.Error("the token was taken twice")
	}
}

func TestOwnAuthoritiesHaveTheirLivesAndLimits(t *testing.T) {
	anchorPair, issuerPair := newTestPairs(t, now)
	anchor := roots(t, anchorPair)[0]
	issuer := roots(t, issuerPair)[0]
	if !anchor.NotAfter.Equal(now.Add(AnchorLifetime)) || !issuer.NotAfter.Equal(now.Add(IssuerLifetime)) {
		t.Errorf("anchor ends %s, issuer %s", anchor.NotAfter, issuer.NotAfter)
	}
	if issuer.MaxPathLen != 0 || !issuer.MaxPathLenZero {
		t.Errorf("issuer has path length %d, want 0", issuer.MaxPathLen)
	}
	if bytes.Equal(anchor.SerialNumber.Bytes(), issuer.SerialNumber.Bytes()) {
		t.Error("serial numbers repeat")
	}
	late := anchor.NotAfter.Add(-time.Hour)
	pair, err := NewIssuer(anchorPair, late)
	if err != nil {
		t.Fatal(err)
	}
	if got := roots(t, pair)[0].NotAfter; !got.Equal(anchor.NotAfter) {
		t.Errorf("issuer ends %s, after its anchor's end %s", got, anchor.NotAfter)
	}
	if _, err := NewIssuer(anchorPair, anchor.NotAfter.Add(time.Second)); err == nil {
		t.Error("an anchor that ended made an issuer")
	}
}

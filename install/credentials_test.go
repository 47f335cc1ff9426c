package install

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/identity/ca"
)

// pairs returns an anchor and an issuer under it, as files would have them.
// now is a time at which the certificates of the tests are valid.
var now = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func pairs(t *testing.T) (anchor, issuer ca.Pair) {
	t.Helper()
	anchor, err := ca.NewAnchor("cluster.local", now)
	if err != nil {
		t.Fatal(err)
	}
	if issuer, err = ca.NewIssuer(anchor, now); err != nil {
		t.Fatal(err)
	}
	return anchor, issuer
}

// anchorOn returns a self-signed CA certificate with a key on curve.
func anchorOn(t *testing.T, curve elliptic.Curve) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "odd"}, NotBefore: now, NotAfter: now.Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

func TestCredentials(t *testing.T) {
	anchor, issuer := pairs(t)
	other, otherIssuer := pairs(t)
	root, crt, key := string(anchor.CertPEM), string(issuer.CertPEM), string(issuer.KeyPEM)
	for name, test := range map[string]struct {
		anchors, crt, key string
		scheme            string
		externalCA        bool
		at                time.Time
		want              string // in the error; "" if there is none
	}{
		"none":      {},
		"all three": {anchors: root, crt: crt, key: key},
		"text around the blocks": {anchors: "# root, of all\n" + root, crt: "subject=CN = x\n" + crt,
			key: key},
		"a bundle of anchors":   {anchors: string(other.CertPEM) + root, crt: crt, key: key},
		"without anchors":       {crt: crt, key: key, want: "identityTrustAnchorsPEM is missing"},
		"without a certificate": {anchors: root, key: key, want: "identity.issuer.tls.crtPEM is missing"},
		"without a key":         {anchors: root, crt: crt, want: "identity.issuer.tls.keyPEM is missing"},
		"another issuer's key": {anchors: root, crt: crt, key: string(otherIssuer.KeyPEM),
			want: "identity.issuer.tls"},
		"an issuer below another anchor": {anchors: string(other.CertPEM), crt: crt, key: key,
			want: "identity.issuer.tls"},
		"an expired anchor": {anchors: root, crt: crt, key: key, at: now.AddDate(11, 0, 0),
			want: "expired on"},
		"a certificate of tomorrow": {anchors: root, crt: crt, key: key, at: now.AddDate(0, 0, -1),
			want: "not valid before"},
		"no PEM": {anchors: "hello", crt: crt, key: key,
			want: "identityTrustAnchorsPEM: holds no PEM certificate"},
		"a key for an anchor": {anchors: string(anchor.KeyPEM), crt: crt, key: key,
			want: "holds a PRIVATE KEY"},
		"a leaf for an anchor, P-521": {anchors: anchorOn(t, elliptic.P521()), crt: crt, key: key,
			want: "want P-256 or P-384"},
		"an external issuer alone": {scheme: ExternalIssuer,
			want: "an external issuer needs trust anchors: give --identity-trust-anchors-file"},
		"an external issuer and external anchors": {scheme: ExternalIssuer, externalCA: true},
		"an external issuer with anchors":         {scheme: ExternalIssuer, anchors: root},
		"an external issuer and a key": {scheme: ExternalIssuer, anchors: root, crt: crt, key: key,
			want: "must not be given"},
		"external anchors without an issuer": {externalCA: true, want: "external trust anchors need an issuer"},
		"external anchors and an issuer":     {externalCA: true, crt: crt, key: key, anchors: root},
	} {
		t.Run(name, func(t *testing.T) {
			v := Defaults()
			v.IdentityTrustAnchorsPEM, v.Identity.Issuer.TLS, v.Identity.ExternalCA = test.anchors,
				IssuerTLS{test.crt, test.key}, test.externalCA
			if test.scheme != "" {
				v.Identity.Issuer.Scheme = test.scheme
			}
			if test.at.IsZero() {
				test.at = now
			}
			_, err := v.Validate(test.at)
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("Validate() = %v; want %q", err, test.want)
			}
		})
	}
}

func TestExpiryIsAWarning(t *testing.T) {
	anchor, issuer := pairs(t)
	v := Defaults()
	v.IdentityTrustAnchorsPEM, v.Identity.Issuer.TLS = string(anchor.CertPEM),
		IssuerTLS{string(issuer.CertPEM), string(issuer.KeyPEM)}
	warnings, err := v.Validate(now.Add(ca.IssuerLifetime - 30*24*time.Hour))
	if err != nil || len(warnings) != 1 || !strings.Contains(warnings[0], "can issue until") {
		t.Errorf("Validate() = %q, %v; want one warning about the issuer", warnings, err)
	}
}

func TestValidateNamesEveryMistake(t *testing.T) {
	o := NewOverrides()
	if err := o.Set(
		"controllerReplicas=0,controllerUID=0,controllerLogLevel=loud,clusterNetworks=ten," +
			"identity.issuer.issuanceLifetime=48h," +
			"proxyInjector.timeoutSeconds=31,identityResources.memory.limit=lots,proxy.defaultInboundPolicy=maybe," +
			"imagePullPolicy=Sometimes," +
			"identity.issuer.scheme=x,webhookFailurePolicy=Perhaps,clusterDomain=a_b"); err != nil {
		t.Fatal(err)
	}
	v, _, err := o.Values()
	if err != nil {
		t.Fatal(err)
	}
	_, err = v.Validate(now)
	if err == nil {
		t.Fatal("Validate() = nil")
	}
	for _, want := range []string{"controllerReplicas", "controllerUID", "controllerLogLevel", "clusterNetworks",
		"issuance lifetime",
		"timeoutSeconds", "identityResources", "default-inbound-policy", "imagePullPolicy", "issuer.scheme",
		"webhookFailurePolicy", "clusterDomain"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not name %s:\n%v", want, err)
		}
	}
}

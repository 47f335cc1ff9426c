package manifests

import (
	"bytes"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/tulle-mesh/tulle/identity/ca"
	"github.com/tulle-mesh/tulle/install"
)

// pairs returns an anchor and an issuer under it, as files would have them.
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

func TestGivenCredentialsAreRendered(t *testing.T) {
	anchor, issuer := pairs(t)
	v := install.Defaults()
	v.IdentityTrustAnchorsPEM, v.Identity.Issuer.TLS = string(anchor.CertPEM),
		install.IssuerTLS{CrtPEM: string(issuer.CertPEM), KeyPEM: string(issuer.KeyPEM)}
	if _, err := v.Validate(now); err != nil {
		t.Fatal(err)
	}
	var roots, crt, key string
	for _, obj := range decodeStrict(t, render(t, v)) {
		switch o := obj.(type) {
		case *corev1.Secret:
			crt, key = string(o.Data["tls.crt"]), string(o.Data["tls.key"])
		case *corev1.ConfigMap:
			if o.Name == "tulle-identity-trust-roots" {
				roots = o.Data["ca-bundle.crt"]
			}
			if bytes.Contains([]byte(o.Data["install"]), []byte("PRIVATE KEY")) {
				t.Error("tulle-config holds the issuer's key")
			}
		}
	}
	if roots != string(anchor.CertPEM) || crt != string(issuer.CertPEM) || key != string(issuer.KeyPEM) {
		t.Errorf("the credentials changed on the way: anchors %q, certificate %q, key of %d bytes", roots, crt, len(key))
	}
}

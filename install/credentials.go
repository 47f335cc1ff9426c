package install

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"time"

	"github.com/tulle-mesh/tulle/identity/ca"
)

// expiresSoon is the remaining lifetime from which a certificate causes a warning. Source: linkerd check, 60 days.
const expiresSoon = 60 * 24 * time.Hour

// checkCredentials returns an error unless the trust anchors and the issuer are all given or all absent. They must fit
// each other, and be of kinds that the identity controller accepts. It removes the text around the blocks of PEM
// values.
func (v *Values) checkCredentials(now time.Time) (warnings []string, err error) {
	tls := &v.Identity.Issuer.TLS
	given := v.IdentityTrustAnchorsPEM != "" || tls.CrtPEM != "" || tls.KeyPEM != ""
	external := v.Identity.Issuer.Scheme == ExternalIssuer
	switch {
	case external && (tls.CrtPEM != "" || tls.KeyPEM != ""):
		return nil, errors.New("an issuer certificate or key must not be given when the issuer is an external one")
	case external && v.IdentityTrustAnchorsPEM == "" && !v.Identity.ExternalCA: // the controller would never be ready
		return nil, errors.New(
			"an external issuer needs trust anchors: give --identity-trust-anchors-file (identityTrustAnchorsPEM), or " +
				"--identity-external-ca (identity.externalCA) where somebody else keeps them")
	case !external && v.Identity.ExternalCA && tls.CrtPEM == "":
		return nil, errors.New(
			"external trust anchors need an issuer: give its certificate and key, or say that it is external")
	case !given:
		return nil, nil
	case !external && v.IdentityTrustAnchorsPEM == "" && !v.Identity.ExternalCA:
		return nil, errors.New(
			"identityTrustAnchorsPEM is missing, and must be given if other credentials are provided: --set-file " +
				"identityTrustAnchorsPEM=FILE, or --identity-trust-anchors-file")
	case !external && tls.CrtPEM == "":
		return nil, errors.New(
			"identity.issuer.tls.crtPEM is missing, and must be given if other credentials are provided: --set-file " +
				"identity.issuer.tls.crtPEM=FILE, or --identity-issuer-certificate-file")
	case !external && tls.KeyPEM == "":
		return nil, errors.New(
			"identity.issuer.tls.keyPEM is missing, and must be given if other credentials are provided: --set-file " +
				"identity.issuer.tls.keyPEM=FILE, or --identity-issuer-key-file")
	}
	anchors, warnings, err := v.checkAnchors(now)
	if err != nil || external {
		return warnings, err
	}
	more, err := v.checkIssuer(anchors, now)
	return append(warnings, more...), err
}

func (v *Values) checkAnchors(now time.Time) (anchors []*x509.Certificate, warnings []string, err error) {
	if v.IdentityTrustAnchorsPEM == "" {
		return nil, nil, nil
	}
	anchors, text, err := ParseCertificates(v.IdentityTrustAnchorsPEM)
	if err != nil {
		return nil, nil, fmt.Errorf("identityTrustAnchorsPEM: %w", err)
	}
	for _, anchor := range anchors {
		if err := CheckAnchor(anchor, now); err != nil {
			return nil, nil, fmt.Errorf("identityTrustAnchorsPEM: %q: %w", anchor.Subject, err)
		}
		if anchor.NotAfter.Sub(now) < expiresSoon {
			warnings = append(warnings, fmt.Sprintf("trust anchor %q expires on %s", anchor.Subject,
				anchor.NotAfter.Format(time.DateOnly)))
		}
	}
	v.IdentityTrustAnchorsPEM = text
	return anchors, warnings, nil
}

// CheckAnchor returns an error unless Linkerd accepts the anchor too: a CA with an ECDSA P-256 or RSA 2048 or 4096 key,
// or a stronger one of the same kind.
func CheckAnchor(cert *x509.Certificate, now time.Time) error {
	switch key := cert.PublicKey.(type) {
	case *ecdsa.PublicKey:
		if key.Curve != elliptic.P256() && key.Curve != elliptic.P384() {
			return fmt.Errorf("curve %s: want P-256 or P-384", key.Curve.Params().Name)
		}
	case *rsa.PublicKey:
		if key.N.BitLen() < 2048 {
			return fmt.Errorf("RSA key of %d bits: want at least 2048", key.N.BitLen())
		}
	case ed25519.PublicKey:
	default:
		return fmt.Errorf("key of type %T: want ECDSA, RSA or Ed25519", key)
	}
	switch {
	case !cert.BasicConstraintsValid || !cert.IsCA:
		return errors.New("not a CA certificate")
	case now.After(cert.NotAfter):
		return fmt.Errorf("expired on %s", cert.NotAfter.Format(time.RFC3339))
	case now.Before(cert.NotBefore):
		return fmt.Errorf("not valid before %s", cert.NotBefore.Format(time.RFC3339))
	}
	return nil
}

// checkIssuer loads the issuer as the identity controller will. Without anchors (they are external) it checks the
// issuer only against its own chain.
func (v *Values) checkIssuer(anchors []*x509.Certificate, now time.Time) (warnings []string, err error) {
	tls := &v.Identity.Issuer.TLS
	chain, text, err := ParseCertificates(tls.CrtPEM)
	if err != nil {
		return nil, fmt.Errorf("identity.issuer.tls.crtPEM: %w", err)
	}
	if anchors == nil {
		anchors = chain[len(chain)-1:]
	}
	profile, err := v.Identity.Issuer.profile()
	if err != nil {
		return nil, nil // checkControlPlane reports it
	}
	issuer, err := ca.Load([]byte(text), []byte(tls.KeyPEM), anchors, profile, now)
	if err != nil {
		return nil, fmt.Errorf("identity.issuer.tls: %w", err)
	}
	if end := issuer.NotAfter(); end.Sub(now) < expiresSoon {
		warnings = append(warnings, fmt.Sprintf("issuer %q can issue until %s only", chain[0].Subject,
			end.Format(time.DateOnly)))
	}
	tls.CrtPEM = text
	return warnings, nil
}

// ParseCertificates reads every CERTIFICATE block and returns them also as PEM without the text around them.
func ParseCertificates(text string) (certs []*x509.Certificate, normal string, err error) {
	var out bytes.Buffer
	for rest := []byte(text); ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			return nil, "", fmt.Errorf("holds a %s, want certificates", block.Type)
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, "", err
		}
		certs = append(certs, cert)
		if err := pem.Encode(&out, &pem.Block{Type: block.Type, Bytes: block.Bytes}); err != nil {
			return nil, "", err
		}
	}
	if certs == nil {
		return nil, "", errors.New("holds no PEM certificate")
	}
	return certs, out.String(), nil
}

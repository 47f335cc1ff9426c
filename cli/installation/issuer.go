package installation

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"

	corev1 "k8s.io/api/core/v1"

	"github.com/tulle-mesh/tulle/install"
	"github.com/tulle-mesh/tulle/mesh"
)

// issuerKeys are the keys of an issuer's Secret that may have its certificate: Linkerd's, and that of
// kubernetes.io/tls.
var issuerKeys = []string{"crt.pem", corev1.TLSCertKey}

// IssuerChain returns the issuer's certificate and the intermediates that come with it.
func IssuerChain(issuer *corev1.Secret) ([]*x509.Certificate, error) {
	for _, key := range issuerKeys {
		if data, ok := issuer.Data[key]; ok {
			certs, _, err := install.ParseCertificates(string(data))
			if err != nil {
				return nil, fmt.Errorf("Secret %s, key %s: %w", issuer.Name, key, err)
			}
			return certs, nil
		}
	}
	return nil, fmt.Errorf("Secret %s has neither crt.pem nor tls.crt", issuer.Name)
}

// MadeHere reports whether the identity controller made the issuer. Its mark names the certificate: one that somebody
// applied over it keeps the annotation and is theirs.
func MadeHere(issuer *corev1.Secret) bool {
	for _, key := range issuerKeys {
		if cert := issuer.Data[key]; len(cert) > 0 {
			sum := sha256.Sum256(cert)
			return issuer.Annotations[mesh.MadeIssuerAnnotation] == hex.EncodeToString(sum[:16])
		}
	}
	return false
}

package mesh

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
)

// ParseRoots reads a bundle of trust anchors: PEM blocks of type CERTIFICATE, text between them ignored. The result has
// at least one certificate, without duplicates, in the order of the bundle. A block of another type (a private key,
// say), a certificate that is not a CA, or an empty bundle is an error: trust is never narrowed or widened by a typing
// mistake.
func ParseRoots(bundle []byte) ([]*x509.Certificate, error) {
	var roots []*x509.Certificate
	seen := map[string]bool{}
	for rest := bundle; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			if bytes.Contains(rest, []byte("-----BEGIN")) {
				return nil, errors.New("parse trust anchors: broken PEM block")
			}
			break
		}
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("parse trust anchors: block of type %q, want CERTIFICATE only", block.Type)
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("parse trust anchors: %w", err)
		}
		if !cert.BasicConstraintsValid || !cert.IsCA {
			return nil, fmt.Errorf("parse trust anchors: %q is not a CA", cert.Subject)
		}
		if key := string(cert.Raw); !seen[key] {
			seen[key] = true
			roots = append(roots, cert)
		}
	}
	if len(roots) == 0 {
		return nil, errors.New("parse trust anchors: no certificate in the bundle")
	}
	return roots, nil
}

// EncodeRoots is the inverse of ParseRoots.
func EncodeRoots(roots []*x509.Certificate) []byte {
	var buf bytes.Buffer
	for _, root := range roots {
		buf.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root.Raw}))
	}
	return buf.Bytes()
}

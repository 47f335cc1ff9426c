package mesh

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
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

// RootsHash returns a number that identifies a set of trust anchors: 52 bits of a SHA-256, so that a metric can carry
// it exactly. Order and duplicates do not matter. It is 0 for no anchors.
func RootsHash(roots []*x509.Certificate) uint64 {
	if len(roots) == 0 {
		return 0
	}
	sums := make([][sha256.Size]byte, len(roots))
	for i, root := range roots {
		sums[i] = sha256.Sum256(root.Raw)
	}
	slices.SortFunc(sums, func(a, b [sha256.Size]byte) int { return bytes.Compare(a[:], b[:]) })
	all := sha256.New()
	for _, sum := range slices.Compact(sums) {
		all.Write(sum[:])
	}
	return short(all.Sum(nil))
}

// KeyHash returns a number that identifies the key with which a certificate was signed, as RootsHash does for anchors.
// id is the signer's key identifier; the result is 0 without one.
func KeyHash(id []byte) uint64 {
	if len(id) == 0 {
		return 0
	}
	sum := sha256.Sum256(id)
	return short(sum[:])
}

// short returns the first 52 bits, which a float64 has room for, and never 0.
func short(sum []byte) uint64 { return max(1, binary.BigEndian.Uint64(sum)>>12) }

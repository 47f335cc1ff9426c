package ca

import (
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"

	"github.com/tulle-mesh/tulle/mesh"
)

// Errors that callers distinguish.
var (
	// ErrRequest is wrapped if a request cannot be parsed or is not signed by its own key. It is also wrapped if the
	// type of the key is not allowed.
	ErrRequest = errors.New("bad certificate request")
	// ErrForeignName is wrapped if a request has a name other than the identity that its sender proved.
	ErrForeignName = errors.New("certificate request names somebody else")
	// ErrIssuerExpired is wrapped if the issuer's remaining lifetime is too short to issue a useful certificate.
	ErrIssuerExpired = errors.New("issuer has expired")
)

var oidSubjectAltName = asn1.ObjectIdentifier{2, 5, 29, 17}

// sanURI is the tag of uniformResourceIdentifier in a GeneralName. Source: RFC 5280 §4.2.1.6.
const sanURI = 6

// checkRequest reads a PKCS #10 request and proves possession of its key. The request must have no subject, and either
// no name or only id as one URI SAN.
func checkRequest(der []byte, id mesh.ID) (*x509.CertificateRequest, error) {
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRequest, err)
	}
	if err := checkKey(csr.PublicKey); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRequest, err)
	}
	if err := csr.CheckSignature(); err != nil {
		return nil, fmt.Errorf("%w: signature: %w", ErrRequest, err)
	}
	if len(csr.Subject.Names) > 0 {
		return nil, fmt.Errorf("%w: subject %q, want none", ErrForeignName, csr.Subject)
	}
	for _, ext := range csr.Extensions {
		if !ext.Id.Equal(oidSubjectAltName) {
			return nil, fmt.Errorf("%w: asks for extension %v", ErrRequest, ext.Id)
		}
		if err := checkSAN(ext.Value, id); err != nil {
			return nil, err
		}
	}
	return csr, nil
}

// checkSAN reads the extension itself: the parsed fields of x509 omit the kinds of name that x509 does not know.
func checkSAN(der []byte, id mesh.ID) error {
	var names []asn1.RawValue
	rest, err := asn1.Unmarshal(der, &names)
	if err != nil || len(rest) > 0 {
		return fmt.Errorf("%w: subject alternative name cannot be read", ErrRequest)
	}
	if len(names) != 1 {
		return fmt.Errorf("%w: %d subject alternative names, want one", ErrForeignName, len(names))
	}
	name := names[0]
	if name.Class != asn1.ClassContextSpecific || name.Tag != sanURI || string(name.Bytes) != id.String() {
		return fmt.Errorf("%w: subject alternative name %q, want URI %s", ErrForeignName, name.Bytes, id)
	}
	return nil
}
